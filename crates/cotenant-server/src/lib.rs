//! The servers of cotenant: MCP over stdio.
//!
//! They know the operations and nothing of databases, git or agents: what they need of the world
//! they ask of the program around them, through [`mcp::Host`].

mod async_store;
pub mod mcp;
