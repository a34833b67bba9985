//! Resources of the types that need no image: what their configuration says is known before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use concourse::json::JsonMap;
use concourse::plan::{Action, Plan, ResourceType};
use diagnostic::Diagnostic;
use resources::Place;
use serde_json::Value;

/// Finds what built-in types do not support of what the steps of a plan ask for. Returns notices about what changes
/// nothing, or all errors.
pub fn check(plan: &Plan) -> Result<Vec<String>, Vec<Diagnostic>> {
    let (mut errors, mut notices) = (Vec::new(), Vec::new());
    let declared: BTreeMap<&str, &ResourceType> =
        plan.resource_types.iter().map(|one| (&*one.name, one)).collect();
    let sources: BTreeMap<&str, (&str, Value)> = plan
        .resources
        .iter()
        .map(|resource| {
            let kind = &*resource.r#type;
            let mut source = declared.get(kind).map_or(Value::Null, |one| value(&one.defaults));
            let own = value(&resource.source);
            match (&mut source, own) {
                (Value::Object(all), Value::Object(own)) => all.extend(own),
                (all, own) => *all = own,
            }
            (&*resource.name, (kind, source))
        })
        .collect();
    let (mut asked, mut shadowed) = (BTreeSet::new(), BTreeSet::new());
    for job in &plan.jobs {
        job.each_step(&mut |step| {
            let (name, resource, gets, puts) = match &step.action {
                Action::Get(get) if !plan.inputs.contains(&get.get) => {
                    (&get.get, &get.resource, Some(value(&get.params)), None)
                }
                Action::Put(put) => (
                    &put.put,
                    &put.resource,
                    Some(value(&put.get_params)),
                    Some(value(&put.params)),
                ),
                _ => return,
            };
            let resource = resource.as_ref().unwrap_or(name);
            let Some((kind, source)) = sources.get(&**resource) else { return };
            let is_first = asked.insert(resource.clone());
            if declared.contains_key(kind) && shadowed.insert(*kind) {
                notices.push(format!(
                    "the type `{kind}` of `resource_types` is an image, and this driver uses its own `{kind}` instead"
                ));
            }
            for problem in resources::check_fields(kind, Some(source), gets.as_ref(), puts.as_ref())
            {
                let at = match problem.place {
                    Place::Source if !is_first => continue,
                    Place::Source => format!("resource `{resource}`"),
                    _ => format!("step `{name}` of job `{}`", job.name),
                };
                let message = format!("{at}: {problem}");
                match problem.is_notice {
                    true => notices.push(message),
                    false => errors.push(Diagnostic::new(message)),
                }
            }
        });
    }
    match errors.is_empty() {
        true => Ok(notices),
        false => Err(errors),
    }
}

fn value(fields: &JsonMap) -> Value {
    serde_json::to_value(fields).unwrap_or(Value::Null)
}
