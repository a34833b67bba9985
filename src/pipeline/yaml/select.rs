//! Which part of a pipeline to run.

use std::collections::HashSet;

use super::Selection;
use super::check::passed;
use super::fields::list_of;
use super::plan::Plan;
use super::suggest::did_you_mean;
use crate::diagnostic::Diagnostic;

/// Keeps a job and what it waits for, and the smaller of two limits.
pub fn select(plan: &mut Plan, selection: &Selection) -> Result<(), Box<Diagnostic>> {
    plan.max_in_flight = plan.max_in_flight.into_iter().chain(selection.max_in_flight).min();
    let Some(name) = &selection.job else { return Ok(()) };
    let names: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
    if !names.contains(&name.as_str()) {
        let hint = did_you_mean(name, names.iter().copied());
        return Err(Box::new(
            Diagnostic::new(format!("unknown job `{name}`{hint}"))
                .help(format!("the pipeline has {}", list_of(&names))),
        ));
    }
    let mut needed: HashSet<String> = HashSet::new();
    let mut open = vec![name.clone()];
    while let Some(name) = open.pop() {
        if needed.insert(name.clone()) {
            let job = plan.jobs.iter().find(|job| job.name == name);
            open.extend(job.into_iter().flat_map(passed).map(str::to_owned));
        }
    }
    plan.jobs.retain(|job| needed.contains(&job.name));
    // What the whole pipeline has to do says nothing about a part of it.
    plan.assert = None;
    Ok(())
}
