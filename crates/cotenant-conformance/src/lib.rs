//! The contract of cotenant as tests that run against any store.
//!
//! A back end offers a [`Bench`] and calls [`run_all`]. Every case is one statement of the
//! contract, named by its id; it gets a bench of its own, and after it the invariants that can be
//! seen through operations are checked. All outcomes are recorded by operation and code and
//! compared with [`EXPECTED`], so that a precondition that nobody violates, or a code that nobody
//! promised, fails the run too.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use cotenant_core::store::{Outcome, Request, Store};

/// Lists functions as cases under their own names.
macro_rules! cases {
    ($($name:ident,)*) => {
        /// The statements of this module.
        pub(crate) const CASES: &[crate::Case] = &[$((stringify!($name), $name)),*];
    };
}

mod ask;
mod barrier;
mod batch;
mod bench;
mod chain;
mod claim;
mod compare;
mod data;
mod dependency;
mod event;
mod expected;
mod fence;
mod guard;
mod handoff;
mod holder;
mod instruction;
mod invariant;
mod lease;
mod life;
mod limits;
mod lineage;
mod loss;
mod message;
mod metric;
mod moving;
mod path;
mod progress;
mod projection;
mod queue;
mod report;
mod request;
mod retention;
mod sample;
mod scope;
mod session;
mod shown;
mod table;
mod task;
mod time;
mod update;
mod wait;

pub use bench::{Bench, World};
pub use compare::Comparison;
pub use expected::{ENVIRONMENT, EXPECTED};
pub use report::{Failure, Recorder, Report};
pub use sample::token_of;

/// A statement of the contract: its id and sentence, and the test.
pub type Case = (&'static str, fn(&dyn Bench));

/// Every statement of the contract that has a test.
pub fn cases() -> Vec<Case> {
    [
        request::CASES,
        guard::CASES,
        batch::CASES,
        table::CASES,
        limits::CASES,
        time::CASES,
        session::CASES,
        lineage::CASES,
        shown::CASES,
        life::CASES,
        loss::CASES,
        holder::CASES,
        data::CASES,
        update::CASES,
        scope::CASES,
        lease::CASES,
        fence::CASES,
        wait::CASES,
        claim::CASES,
        path::CASES,
        projection::CASES,
        event::CASES,
        chain::CASES,
        retention::CASES,
        task::CASES,
        queue::CASES,
        dependency::CASES,
        progress::CASES,
        handoff::CASES,
        moving::CASES,
        message::CASES,
        barrier::CASES,
        instruction::CASES,
        metric::CASES,
    ]
    .concat()
}

/// How many cases run at once: some only wait, for a disk or a process.
const AT_ONCE: usize = 4;
/// The variable that names the one case to run.
pub const CASE: &str = "COTENANT_CASE";

/// Runs every case, or the one that [`CASE`] names, each on a fresh bench.
pub fn run_all(make: &(dyn Fn() -> Box<dyn Bench> + Sync)) -> Report {
    let Ok(only) = std::env::var(CASE) else { return run(make, |_| true) };
    let mut report = run(make, |case| case == only);
    assert!(report.cases > 0, "no case is called `{only}`");
    report.is_part = true;
    report
}

/// Runs the cases whose name is wanted, each on a fresh bench.
pub fn run(make: &(dyn Fn() -> Box<dyn Bench> + Sync), wanted: impl Fn(&str) -> bool) -> Report {
    let wanted = cases().into_iter().filter(|(name, _)| wanted(name));
    let (alone, others): (Vec<Case>, _) = wanted.partition(|(name, _)| erases(name));
    let mut report = side_by_side(make, &others);
    for case in alone {
        run_one(make, case, &mut report);
    }
    report
}

/// Whether a case runs alone: what is erased must be seen by nobody, and a server may know one who does in
/// any of its stores.
fn erases(case: &str) -> bool {
    const BESIDES: [&str; 3] = [
        "s1_every_mutation_wants_the_actors_own_token",
        "s1_every_mutation_stops_at_a_fallen_guard",
        "s4_every_mutation_can_be_repeated_under_its_id",
    ];
    case.starts_with("e5_") || BESIDES.contains(&case)
}

fn side_by_side(make: &(dyn Fn() -> Box<dyn Bench> + Sync), cases: &[Case]) -> Report {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut report = Report::default();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            run_one(make, *case, &mut report);
        }
        report
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let reports = workers.into_iter().map(|worker| worker.join().expect("cases are caught"));
        reports.fold(Report::default(), Report::and)
    })
}

fn run_one(make: &dyn Fn() -> Box<dyn Bench>, (case, test): Case, report: &mut Report) {
    report.cases += 1;
    let mut failed = |message| report.failures.push(Failure { case, message });
    let recorder = Recorder::default();
    match caught(|| Observed { bench: make(), recorder: recorder.clone() }) {
        Err(message) => failed(format!("no bench: {message}")),
        Ok(observed) => {
            if let Err(message) = caught(|| test(&observed)) {
                failed(message);
            }
            if let Err(message) = caught(|| invariant::check(&*observed.bench, &recorder)) {
                failed(format!("afterwards, {message}"));
            }
        }
    }
    report.add(&recorder);
}

fn caught<T>(test: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(test)).map_err(|panic| words(&*panic))
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// A bench whose connections are watched.
struct Observed {
    bench: Box<dyn Bench>,
    recorder: Recorder,
}

impl Store for Observed {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        self.recorder.submit(self.bench.store(), requests)
    }
}

impl Bench for Observed {
    fn store(&self) -> &dyn Store {
        self
    }

    fn second(&self) -> Box<dyn Store> {
        self.recorder.watch(self.bench.second())
    }

    fn world(&self) -> &dyn World {
        self.bench.world()
    }

    fn raw_bytes(&self) -> Option<Vec<u8>> {
        self.bench.raw_bytes()
    }
}

#[cfg(test)]
mod tests {
    use cotenant_core::{Error, process::ProcessIdentity};

    use super::*;

    /// A store that fails whatever it is asked.
    struct Broken;

    impl Store for Broken {
        fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
            requests.iter().map(|_| Err(Error::internal("broken"))).collect()
        }
    }

    impl Bench for Broken {
        fn store(&self) -> &dyn Store {
            self
        }

        fn second(&self) -> Box<dyn Store> {
            Box::new(Self)
        }

        fn world(&self) -> &dyn World {
            self
        }

        fn raw_bytes(&self) -> Option<Vec<u8>> {
            None
        }
    }

    impl World for Broken {
        fn advance(&self, _: u64) {}

        fn set_wall(&self, _: i64) {}

        fn reboot(&self) {}

        fn process(&self) -> ProcessIdentity {
            ProcessIdentity {
                host: "h".into(),
                boot: "b".into(),
                namespace: "n".into(),
                pid: 1,
                started: 1,
            }
        }

        fn kill(&self, _: &ProcessIdentity) {}

        fn foreign_process(&self) -> ProcessIdentity {
            World::process(self)
        }
    }

    #[test]
    fn no_case_passes_on_a_broken_store() {
        let report = run_all(&|| Box::new(Broken));
        let failed = |case: &str| {
            let own = |failure: &&Failure| !failure.message.starts_with("afterwards");
            report.failures.iter().filter(own).any(|failure| failure.case == case)
        };
        let passed: Vec<_> =
            cases().into_iter().map(|(case, _)| case).filter(|c| !failed(c)).collect();
        assert_eq!(passed, ["s0_unknown_fields_and_operations_are_refused"], "it asks no store");
        assert!(report.verdict().is_err());
    }

    #[test]
    fn a_case_has_a_name_of_its_own() {
        let mut names: Vec<_> = cases().into_iter().map(|(case, _)| case).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
