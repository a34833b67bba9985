//! Which part of a pipeline to run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::Selection;
use crate::check::passed;
use crate::fields::list_of;
use crate::json::Json;
use crate::plan::{Action, Job, Plan, Resource, Step, TaskCaches};
use crate::reference::has_local;
use crate::suggest::did_you_mean;
use diagnostic::Diagnostic;

/// Keeps a job and what it waits for, and the smaller of two limits. Refuses inputs and outputs that nothing of
/// that has.
///
/// `kept` are the places of the jobs in the file.
pub fn select(
    plan: &mut Plan,
    kept: &mut Vec<usize>,
    selection: &Selection,
) -> Result<(), Box<Diagnostic>> {
    select_job(plan, kept, selection)?;
    let artifacts = Artifacts::of(plan);
    for input in &selection.inputs {
        artifacts.need("--input", input, &artifacts.wanted)?;
    }
    for output in &selection.outputs {
        artifacts.need("--output", output, &artifacts.made)?;
    }
    plan.inputs = selection.inputs.clone();
    plan.outputs = selection.outputs.clone();
    Ok(())
}

fn select_job(
    plan: &mut Plan,
    kept: &mut Vec<usize>,
    selection: &Selection,
) -> Result<(), Box<Diagnostic>> {
    plan.max_in_flight = plan.max_in_flight.into_iter().chain(selection.max_in_flight).min();
    let Some(name) = &selection.job else { return Ok(()) };
    let named: HashMap<&str, &Job> = plan.jobs.iter().map(|job| (job.name.as_str(), job)).collect();
    if !named.contains_key(name.as_str()) {
        let names: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
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
            let job = named.get(name.as_str());
            open.extend(job.into_iter().flat_map(|job| passed(job)).map(str::to_owned));
        }
    }
    let mut is_kept = plan.jobs.iter().map(|job| needed.contains(&job.name));
    kept.retain(|_| is_kept.next().unwrap_or(false));
    let (jobs, others): (Vec<Job>, Vec<Job>) =
        std::mem::take(&mut plan.jobs).into_iter().partition(|job| needed.contains(&job.name));
    plan.jobs = jobs;
    plan.other_caches = others.iter().flat_map(caches).collect();
    // What the whole pipeline has to do says nothing about a part of it.
    plan.assert = None;
    Ok(())
}

/// The artifacts of a plan, by their names.
#[derive(Default)]
struct Artifacts {
    wanted: BTreeSet<String>,
    made: BTreeSet<String>,
    /// Whether a task's file, which is read when it runs, may have others.
    others: bool,
}

impl Artifacts {
    fn of(plan: &Plan) -> Self {
        let mut all = Self::default();
        let mut add = |step: &Step| match &step.action {
            Action::Get(get) => {
                all.wanted.insert(get.get.clone());
                all.made.insert(get.get.clone());
            }
            Action::Put(put) => _ = all.made.insert(put.put.clone()),
            Action::LoadVar(load) => {
                all.wanted.extend(load.file.split('/').next().map(str::to_owned));
            }
            Action::SetPipeline(set) => {
                let files = [&set.file].into_iter().chain(&set.var_files);
                all.wanted
                    .extend(files.filter_map(|file| file.split('/').next()).map(str::to_owned));
            }
            Action::Task(task) => {
                let mapped = |map: &BTreeMap<String, String>, name: &String| {
                    map.get(name).unwrap_or(name).clone()
                };
                all.others |= task.config.is_none();
                for config in task.config.iter() {
                    let inputs = config.inputs.iter().map(|input| &input.name);
                    all.wanted.extend(inputs.map(|name| mapped(&task.input_mapping, name)));
                    let outputs = config.outputs.iter().map(|output| &output.name);
                    all.made.extend(outputs.map(|name| mapped(&task.output_mapping, name)));
                }
            }
            _ => {}
        };
        plan.jobs.iter().for_each(|job| job.each_step(&mut add));
        all
    }

    fn need(
        &self,
        option: &str,
        name: &str,
        names: &BTreeSet<String>,
    ) -> Result<(), Box<Diagnostic>> {
        if names.contains(name) || self.others || names.iter().any(|name| has_local(name)) {
            return Ok(());
        }
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = did_you_mean(name, known.iter().copied());
        let (verb, what) = match option {
            "--input" => ("wants", "inputs of tasks and names of `get` steps"),
            _ => ("makes", "outputs of tasks and names of `get` and `put` steps"),
        };
        let help = match known.as_slice() {
            [] => format!("it is for {what}"),
            known => format!("the jobs that run have {}", list_of(known)),
        };
        let message = format!("`{option} {name}`: no step {verb} the artifact `{name}`{hint}");
        Err(Box::new(Diagnostic::new(message).help(help)))
    }
}

/// The tasks of a job that have caches.
fn caches(job: &Job) -> Vec<TaskCaches> {
    let mut found = Vec::new();
    job.each_step(&mut |step| {
        if let Action::Task(task) = &step.action
            && let Some(config) = &task.config
            && !config.caches.is_empty()
        {
            found.push(TaskCaches { task: task.task.clone(), caches: config.caches.clone() });
        }
    });
    found
}

/// The resources that a job's steps name, without those that the command line gives.
fn resources<'a>(job: &'a Job, inputs: &[String]) -> Vec<&'a str> {
    let mut names = Vec::new();
    job.each_step(&mut |step| match &step.action {
        Action::Get(get) if inputs.contains(&get.get) => {}
        Action::Get(get) => names.push(get.resource.as_ref().unwrap_or(&get.get).as_str()),
        Action::Put(put) => names.push(put.resource.as_ref().unwrap_or(&put.put).as_str()),
        _ => {}
    });
    names
}

/// Refuses the first resource of a step that has a type beyond the built-in ones.
pub fn built_in_types(plan: &Plan, built_in: &[&str]) -> Result<(), Box<Diagnostic>> {
    let used: HashSet<&str> =
        plan.jobs.iter().flat_map(|job| resources(job, &plan.inputs)).collect();
    let refused = plan
        .resources
        .iter()
        .find(|one| used.contains(one.name.as_str()) && !built_in.contains(&one.r#type.as_str()));
    let Some(resource) = refused else { return Ok(()) };
    let hint = did_you_mean(&resource.r#type, built_in.iter().copied());
    let message = format!(
        "the resource `{}` has the type `{}`, which needs a driver with images{hint}",
        resource.name, resource.r#type
    );
    Err(Box::new(Diagnostic::new(message).help(format!(
        "the native driver has the types {}; `--job` runs a part of the pipeline",
        list_of(built_in)
    ))))
}

/// Refuses a repository whose address has a secret, which git hands on as an argument.
pub fn secret_addresses<'a>(
    plan: &Plan,
    within: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), Box<Diagnostic>> {
    let used: HashSet<&str> =
        plan.jobs.iter().flat_map(|job| resources(job, &plan.inputs)).collect();
    for resource in plan.resources.iter().filter(|one| used.contains(one.name.as_str())) {
        let uri = resource.source.0.iter().find(|(key, _)| key == "uri");
        if let Some((_, Json::Text(uri))) = uri
            && let Some(secret) = within(&without_user(uri))
        {
            let message = format!(
                "the `uri` of the resource `{}` has the secret `{secret}`, which every process list would show",
                resource.name
            );
            return Err(Box::new(Diagnostic::new(message).help(
                "fetch it in a task that has the secret in `params`, or use a driver with images, whose `git` \
                 resource takes `username` and `password`",
            )));
        }
    }
    Ok(())
}

/// The types that Concourse comes with, each one the image `concourse/NAME-resource`: see
/// <https://concourse-ci.org/docs/resource-types/>.
const OFFICIAL: [&str; 12] = [
    "bosh-io-release",
    "bosh-io-stemcell",
    "docker-image",
    "git",
    "github-release",
    "hg",
    "mock",
    "pool",
    "registry-image",
    "s3",
    "semver",
    "time",
];

/// Refuses the first resource of a step whose type is no image.
pub fn image_types(plan: &Plan) -> Result<(), Box<Diagnostic>> {
    let used: HashSet<&str> =
        plan.jobs.iter().flat_map(|job| resources(job, &plan.inputs)).collect();
    let own = plan.resource_types.iter().map(|one| one.name.as_str());
    let known: Vec<&str> = own.chain(OFFICIAL).collect();
    let refused = plan
        .resources
        .iter()
        .find(|one| used.contains(one.name.as_str()) && !known.contains(&one.r#type.as_str()));
    let Some(resource) = refused else { return Ok(()) };
    let Resource { name, r#type, .. } = resource;
    let diagnostic = if r#type == "file" {
        Diagnostic::new(format!(
            "the resource `{name}` has the type `file`, which needs the native driver"
        ))
        .help("containers do not see this machine's files: keep them in a `git` resource")
    } else {
        let hint = did_you_mean(r#type, known.iter().copied());
        Diagnostic::new(format!("the resource `{name}` has the unknown type `{}`{hint}", r#type))
            .help(format!("there are {}; others are declared in `resource_types`", list_of(&known)))
    };
    Err(Box::new(diagnostic))
}

/// An address without the user and the password in it, which are handed to git in memory.
fn without_user(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_user;

    #[test]
    fn the_user_of_an_address_is_left_out() {
        for (uri, rest) in [
            ("https://me:pass@host/path", "https://host/path"),
            ("https://me:p@ss@host:8443", "https://host:8443"),
            ("https://host/me:pass@x", "https://host/me:pass@x"),
            ("git@host:path", "git@host:path"),
            ("/a/path", "/a/path"),
        ] {
            assert_eq!(without_user(uri), rest, "{uri}");
        }
    }
}
