//! The storms and how large they are.

use std::time::Duration;

use super::lab::Bench;
use super::options::Options;
use super::report::Report;
use super::{
    admin, birth, clock, combine, corrupt, crowd, failpoints, full, kill, mixed, power, race,
    server, stop, tasks, team,
};
use crate::engine::Engine;

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// As much as every test run can bear.
    Short,
    /// As much as it takes to believe it.
    Long,
    /// As little as shows a planted bug.
    Mutant,
}

/// A kind of storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storm {
    /// Processes race; every history must have an order.
    Linearizability,
    /// Processes are killed; nothing is lost, nothing is there twice.
    Kill,
    /// Every failpoint with every action; the store is whole afterwards.
    Failpoints,
    /// Backups, restores and migrations are interrupted; each has happened or not.
    Admin,
    /// Many processes make one store at once; there is one afterwards.
    Birth,
    /// Processes are stopped; those that wake up too late are refused.
    Stop,
    /// Wall clocks jump; nothing happens.
    Clock,
    /// Combiners are killed and stopped; those they worked for go on.
    Combine,
    /// Combiners and those they work for are killed by the thousand.
    Crowd,
    /// Files are damaged; it is said, and a backup brings all back.
    Corrupt,
    /// Disks are full, or fail; what was refused has no effect.
    Full,
    /// The power fails; what was acknowledged is on the disk.
    Power,
    /// Old and new programs meet in a migration.
    Mixed,
    /// A server crashes and its network fails; nothing is lost or done twice.
    Server,
    /// Users on machines of their own share a server; nothing is lost or blended.
    Team,
    /// Workers are killed with tasks in their hands; each task ends, and none is finished twice.
    Tasks,
}

/// Those that are about any database, not about files.
pub(crate) const OVER_A_SERVER: [Storm; 7] = [
    Storm::Linearizability,
    Storm::Kill,
    Storm::Failpoints,
    Storm::Stop,
    Storm::Clock,
    Storm::Mixed,
    Storm::Tasks,
];

impl Storm {
    /// All of them.
    pub(crate) const ALL: [Self; 16] = [
        Self::Linearizability,
        Self::Kill,
        Self::Failpoints,
        Self::Admin,
        Self::Birth,
        Self::Stop,
        Self::Clock,
        Self::Combine,
        Self::Crowd,
        Self::Power,
        Self::Corrupt,
        Self::Full,
        Self::Mixed,
        Self::Server,
        Self::Team,
        Self::Tasks,
    ];

    /// The word on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linearizability => "linearizability",
            Self::Kill => "kill",
            Self::Failpoints => "failpoints",
            Self::Admin => "admin",
            Self::Birth => "birth",
            Self::Stop => "stop",
            Self::Clock => "clock",
            Self::Combine => "combine",
            Self::Crowd => "crowd",
            Self::Power => "power",
            Self::Corrupt => "corrupt",
            Self::Full => "full",
            Self::Mixed => "mixed",
            Self::Server => "server",
            Self::Team => "team",
            Self::Tasks => "tasks",
        }
    }

    /// Whether it can be run over a database.
    pub(crate) fn is_on(self, engine: Engine) -> bool {
        match engine {
            Engine::Sqlite => true,
            // Two of them bring a server of their own.
            Engine::Postgres => {
                OVER_A_SERVER.contains(&self) || matches!(self, Self::Server | Self::Team)
            }
        }
    }

    /// Runs it.
    pub(crate) fn run(self, bench: &Bench, tier: Tier, options: &Options) -> Report {
        let seed = options.seed;
        let rounds = if tier == Tier::Long { 10 } else { 1 };
        match self {
            Self::Linearizability => race::run(bench, seed, race_size(tier, options)),
            Self::Kill => kill::run(bench, seed, kill_size(tier, options)),
            Self::Failpoints => failpoints::run(bench, seed, failpoints::Size { rounds }),
            Self::Admin => admin::run(bench, seed, admin::Size { rounds }),
            Self::Birth => {
                let rounds = if tier == Tier::Long { 100 } else { 4 };
                birth::run(bench, seed, birth::Size { rounds })
            }
            Self::Stop => {
                let (real_time, writers) = (tier == Tier::Long, tier != Tier::Mutant);
                stop::run(bench, seed, stop::Size { rounds, real_time, writers })
            }
            Self::Clock => clock::run(bench, seed, clock::Size { rounds }),
            Self::Combine => {
                let requests = if tier == Tier::Short { 2 } else { 4 };
                combine::run(bench, seed, combine::Size { requests })
            }
            Self::Corrupt => {
                let cases = match tier {
                    Tier::Short => 60,
                    Tier::Long => 600,
                    Tier::Mutant => 80,
                };
                let cases = options.cases.unwrap_or(cases);
                corrupt::run(bench, seed, corrupt::Size { cases })
            }
            Self::Mixed => {
                let rounds = if tier == Tier::Long { 100 } else { 3 };
                mixed::run(bench, seed, mixed::Size { rounds })
            }
            Self::Server => {
                let seconds = if tier == Tier::Long { 300 } else { 20 };
                let time = options.time(Duration::from_secs(seconds));
                server::run(bench, seed, server::Size { time })
            }
            Self::Full => {
                let (fills, passes) = if tier == Tier::Long { (12, 12) } else { (2, 2) };
                full::run(bench, seed, full::Size { fills, passes })
            }
            Self::Power => {
                power::run(bench, seed, power_size(tier, options), options.trace.as_deref())
            }
            Self::Crowd => crowd::run(bench, seed, crowd_size(tier, options)),
            Self::Team => team::run(bench, seed, team_size(tier, options)),
            Self::Tasks => tasks::run(bench, seed, tasks_size(tier, options)),
        }
    }

    /// Runs it as small as shows a planted bug.
    pub(crate) fn run_small(self, bench: &Bench, seed: u64) -> Report {
        self.run(bench, Tier::Mutant, &Options { seed, ..Options::default() })
    }
}

fn race_size(tier: Tier, options: &Options) -> race::Size {
    let (histories, minutes) = match tier {
        Tier::Short => (3, 1),
        Tier::Long => (300, 60),
        Tier::Mutant => (1, 1),
    };
    race::Size {
        histories: options.histories.unwrap_or(histories),
        operations: if tier == Tier::Long { 1_000 } else { 600 },
        workers: 6,
        kills_percent: 3,
        time: options.time(Duration::from_mins(minutes)),
    }
}

fn kill_size(tier: Tier, options: &Options) -> kill::Size {
    let (kills, workers, minutes): (_, &[usize], _) = match tier {
        Tier::Short => (60, &[6, 1], 1),
        Tier::Long => (1_200, &[6, 1, 16], 20),
        Tier::Mutant => (80, &[3], 1),
    };
    kill::Size {
        kills: options.kills.unwrap_or(kills),
        workers,
        failpoints_percent: 60,
        time: options.time(Duration::from_mins(minutes)),
    }
}

fn power_size(tier: Tier, options: &Options) -> power::Size {
    let (images, each) = match tier {
        Tier::Short => (300, 150),
        Tier::Long => (10_000, 500),
        Tier::Mutant => (400, 400),
    };
    let images = options.images.unwrap_or(images);
    let traces = if options.trace.is_some() { 1 } else { images.div_ceil(each) as u64 };
    power::Size { traces, images: images.min(each), requests: 240 }
}

fn crowd_size(tier: Tier, options: &Options) -> crowd::Size {
    let (kills, minutes) = if tier == Tier::Long { (10_000, 20) } else { (150, 1) };
    crowd::Size {
        kills: options.kills.unwrap_or(kills),
        time: options.time(Duration::from_mins(minutes)),
    }
}

fn team_size(tier: Tier, options: &Options) -> team::Size {
    let (users, seconds) = if tier == Tier::Long { (50, 600) } else { (5, 6) };
    team::Size {
        users: options.users.unwrap_or(users),
        sessions: 10,
        time: options.time(Duration::from_secs(seconds)),
    }
}

fn tasks_size(tier: Tier, options: &Options) -> tasks::Size {
    let (tasks, workers, minutes) = if tier == Tier::Long { (2_000, 32, 20) } else { (150, 6, 2) };
    tasks::Size { tasks, workers, time: options.time(Duration::from_mins(minutes)) }
}
