//! The patterns of coordination that people describe for many agent sessions in one repository,
//! each with real processes of the real binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counts;
mod crew;
#[path = "../cli/env.rs"]
#[allow(dead_code, reason = "what people see is compared elsewhere")]
mod env;
mod faults;
mod health;
mod log;
mod progress;
mod reservation;
mod scopes;
mod shared;
mod work;

use env::TestEnv;
