//! Steps that fetch the project itself from its remote, where somebody may expect the files that are here.

use std::collections::BTreeSet;
use std::path::Path;

use source::remote_name;

use crate::json::Json;
use crate::plan::{Action, Plan, Resource};

/// A notice for each `get` step of a repository that has this name, and whose files are in `root`.
pub fn notices(plan: &Plan, remote: &str, root: &Path) -> Vec<String> {
    let own = plan.resources.iter().filter(|resource| is_at(resource, remote));
    let own: BTreeSet<&str> = own.map(|resource| resource.name.as_str()).collect();
    let mut names = BTreeSet::new();
    for job in &plan.jobs {
        job.each_step(&mut |step| {
            if let Action::Get(get) = &step.action
                && own.contains(get.resource.as_ref().unwrap_or(&get.get).as_str())
                && !plan.inputs.contains(&get.get)
            {
                names.insert(get.get.as_str());
            }
        });
    }
    let notice = |name: &str| {
        format!(
            "`get: {name}` fetches this project as its remote has it; to run with the files that are here, pass \
             `--input {name}={}`",
            root.display()
        )
    };
    names.into_iter().map(notice).collect()
}

fn is_at(resource: &Resource, remote: &str) -> bool {
    let is_git = resource.r#type == "git";
    let uri = resource.source.0.iter().find(|(key, _)| key == "uri");
    match uri {
        Some((_, Json::Text(uri))) if is_git => remote_name(uri).as_deref() == Some(remote),
        _ => false,
    }
}
