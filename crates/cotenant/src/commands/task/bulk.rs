//! Many tasks from a file, in several requests.
//!
//! The lines are put into an order in which each comes after those that it needs, so that a request
//! names tasks of earlier ones by id and of its own by place.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader},
    path::Path,
};

use cotenant_core::{
    Code, Error, Result,
    render::counted,
    task::{AddTasks, AddedTask, AddedTasks, EDGES_MAX, NewTask, PAYLOADS_BYTES_MAX, rule},
};

use super::{super::carry::Meter, add};
use crate::{context::Context, exit::Exit, output::Screen};

/// How many tasks a request adds: large enough to be fast, small enough to let others pass.
const CHUNK: usize = 500;

pub(super) fn run(context: &Context, screen: &mut Screen, file: &Path) -> Result<Exit> {
    let tasks = read(file)?;
    if tasks.is_empty() {
        return Err(Error::invalid(format!("`{}` has no task in it", file.display())));
    }
    let order = order(&tasks)?;
    let mut added: Vec<Option<AddedTask>> = vec![None; tasks.len()];
    let mut meter = Meter::new();
    let mut rest = &order[..];
    let (mut last, mut number) = (None, 0);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(length(&tasks, rest));
        let operation = AddTasks { tasks: renumbered(&tasks, chunk, &added) };
        let answered = context.call_part(&operation, number).map_err(|error| {
            let done = order.len() - rest.len();
            let hint = format!(
                "added before that: {}; repeat with the same `--request-id` to add each once",
                counted(done as u64, "task")
            );
            if done > 0 { error.hint(hint) } else { error }
        })?;
        for (place, task) in chunk.iter().zip(answered.answer.tasks) {
            added[*place] = Some(task);
        }
        last = Some((answered.seq, answered.tick));
        (rest, number) = (behind, number + 1);
        meter.say(|| format!("added {} of {} tasks", order.len() - rest.len(), order.len()));
    }
    meter.clear();
    let tasks: Vec<AddedTask> = added.into_iter().flatten().collect();
    match last {
        Some((seq, tick)) if screen.json() => screen.data(&AddedTasks { tasks }, seq, tick)?,
        _ => {
            for task in &tasks {
                screen.line(add::line(task));
            }
            context.note(&summary(&tasks));
        }
    }
    Ok(Exit::SUCCESS)
}

fn read(file: &Path) -> Result<Vec<NewTask>> {
    let failed = |error: io::Error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Invalid,
        };
        Error::new(code, format!("cannot read `{}`: {error}", file.display())).caused_by(error)
    };
    let lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(std::fs::File::open(file).map_err(failed)?))
    };
    let mut tasks = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            return Err(Error::invalid(format!("line {} is empty", number + 1))
                .hint("`needs_new` counts lines, so that none can be left out"));
        }
        let task = serde_json::from_str(&line).map_err(|error| {
            Error::unreadable_line(number + 1, &error)
                .hint("a line is a task, e.g. {\"payload\": \"test server.py\", \"queue\": \"ci\"}; `cotenant task add --help` names all fields")
        })?;
        tasks.push(task);
    }
    Ok(tasks)
}

fn order(tasks: &[NewTask]) -> Result<Vec<usize>> {
    for (place, task) in tasks.iter().enumerate() {
        if let Some(needed) = task.needs_new.iter().find(|needed| **needed as usize >= tasks.len())
        {
            return Err(Error::invalid(format!(
                "line {} needs line {needed} (from 0), but there are {} lines",
                place + 1,
                tasks.len()
            )));
        }
    }
    rule::order(tasks).map_err(|ring| {
        let shown: Vec<String> =
            ring.iter().take(20).map(|place| (place + 1).to_string()).collect();
        Error::new(Code::Cycle, format!("lines {} need each other in a ring", shown.join(", ")))
            .detail("cycle", &ring)
    })
}

/// How many of these tasks fit into a request.
fn length(tasks: &[NewTask], order: &[usize]) -> usize {
    let (mut edges, mut bytes) = (0, 0);
    let fits = |place: &&usize| {
        let task = &tasks[**place];
        edges += task.needs.len() + task.needs_new.len();
        bytes += task.payload.text().len();
        edges <= EDGES_MAX && bytes <= PAYLOADS_BYTES_MAX
    };
    // One that is too large alone is sent, and refused with the reason.
    order.iter().take(CHUNK).take_while(fits).count().max(1)
}

/// The tasks of a request, with what they need by id or by place in it.
fn renumbered(tasks: &[NewTask], chunk: &[usize], added: &[Option<AddedTask>]) -> Vec<NewTask> {
    let places: std::collections::HashMap<usize, usize> =
        chunk.iter().enumerate().map(|(index, place)| (*place, index)).collect();
    let renumber = |place: &usize| {
        let mut task = tasks[*place].clone();
        for needed in std::mem::take(&mut task.needs_new) {
            match (&added[needed as usize], places.get(&(needed as usize))) {
                (Some(known), _) => task.needs.push(known.task),
                (None, Some(index)) => task.needs_new.extend(u32::try_from(*index)),
                (None, None) => {}
            }
        }
        task
    };
    chunk.iter().map(renumber).collect()
}

fn summary(tasks: &[AddedTask]) -> String {
    let before = tasks.iter().filter(|task| task.deduplicated).count();
    let new: Vec<&AddedTask> = tasks.iter().filter(|task| !task.deduplicated).collect();
    let mut parts = Vec::new();
    for state in cotenant_core::task::TaskState::ALL {
        let count = new.iter().filter(|task| task.state == state).count();
        if count > 0 {
            parts.push(format!("{count} {}", state.word()));
        }
    }
    let mut text = format!("added {}", counted(new.len() as u64, "task"));
    if !parts.is_empty() {
        text.push_str(": ");
        text.push_str(&parts.join(", "));
    }
    if before > 0 {
        let _ = write!(text, "; there before: {before}");
    }
    text
}

#[cfg(test)]
mod tests {
    use cotenant_core::{id::TaskId, json::Json, task::TaskState};

    use super::*;

    fn task(needs_new: &[u32]) -> NewTask {
        NewTask { needs_new: needs_new.to_vec(), ..NewTask::new(Json::null()) }
    }

    #[test]
    fn what_was_added_is_named_by_id_and_the_rest_by_place() {
        let tasks = [task(&[2]), task(&[0, 2]), task(&[])];
        let order = order(&tasks).unwrap();
        assert_eq!(order, [2, 0, 1]);
        let known = AddedTask { task: TaskId(9), state: TaskState::Ready, deduplicated: false };
        let rest = renumbered(&tasks, &order[1..], &[None, None, Some(known)]);
        assert_eq!(
            (rest[0].needs.as_slice(), rest[0].needs_new.as_slice()),
            (&[TaskId(9)][..], &[][..])
        );
        assert_eq!(
            (rest[1].needs.as_slice(), rest[1].needs_new.as_slice()),
            (&[TaskId(9)][..], &[0][..])
        );
    }

    #[test]
    fn a_ring_is_refused_before_anything_is_added() {
        assert_eq!(order(&[task(&[1]), task(&[0])]).unwrap_err().code, Code::Cycle);
        assert_eq!(order(&[task(&[1])]).unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn a_request_takes_as_many_as_fit() {
        let small = vec![task(&[]); CHUNK + 1];
        let order: Vec<usize> = (0..small.len()).collect();
        assert_eq!(length(&small, &order), CHUNK);
        let large = NewTask::new(Json::of(&"x".repeat(900_000)));
        assert_eq!(length(&vec![large; 20], &order[..20]), 9);
    }
}
