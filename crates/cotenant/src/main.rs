//! `cotenant`: many coding-agent sessions in one codebase.

mod address;
mod ask;
mod cli;
mod commands;
mod complete;
mod config;
mod context;
mod env;
mod exit;
#[cfg(target_env = "musl")]
mod heap;
mod hook;
mod identity;
mod installation;
mod legacy;
mod output;
mod project;
mod settings;
#[cfg(test)]
mod testing;
mod thresholds;
mod token;
mod tree;

fn main() {
    // A full disk or a file-size limit must come back as an error of the write, never as a signal in
    // the middle of it. Programs that we start inherit that, unless it is undone for them.
    let mut blocked = nix::sys::signal::SigSet::empty();
    blocked.add(nix::sys::signal::SIGXFSZ);
    let _ = blocked.thread_block();
    let arguments = env::arguments();
    // Hooks and the MCP server are matched here, before the command line is built: agents wait
    // for them.
    if hook::is_called(&arguments) {
        std::process::exit(i32::from(hook::run(&arguments[2..])));
    }
    let exit = cli::run(&arguments);
    // Leaves without closing the database: nothing is pending, and the next process cleans up.
    std::process::exit(i32::from(exit.0));
}
