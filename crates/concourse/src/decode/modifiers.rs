//! What any step may have.

use std::rc::Rc;

use super::step::step;
use super::units::duration;
use super::{Refusal, ignored_tags};
use crate::fields::Fields;
use crate::json::Json;
use crate::node::{Node, Value};
use crate::plan::{Across, Modifiers};
use crate::problem::{Problem, Problems};

pub fn modifiers(
    fields: &mut Fields<'_>,
    has_own_timeout: bool,
    refusal: &mut Refusal,
    problems: &mut Problems,
) -> Modifiers {
    let mut own = Refusal::default();
    let mut across =
        fields.list("across", problems, |node, problems| across(node, &mut own, problems));
    for (index, variable) in across.iter().enumerate() {
        let same = |other: &Across| !other.var.is_empty() && other.var == variable.var;
        if let (true, Some(node)) = (across[..index].iter().any(same), fields.get("across")) {
            let message = format!("`across` has the variable `{}` twice", variable.var);
            problems.add(Problem::new(node.mark, message).help("give each variable its own name"));
        }
    }
    if let Some(reason) = own.0 {
        // The step itself is refused, once: there may be no combination that could be.
        across.clear();
        refusal.0.get_or_insert(reason);
    }
    let mut hook = |name, problems: &mut Problems| {
        fields.get(name).and_then(|node| step(node, problems)).map(Box::new)
    };
    let [ensure, on_success, on_failure, on_error, on_abort] =
        ["ensure", "on_success", "on_failure", "on_error", "on_abort"]
            .map(|name| hook(name, problems));
    Modifiers {
        across,
        fail_fast: fields.flag("fail_fast", problems),
        attempts: fields.count("attempts", problems),
        timeout: fields
            .get("timeout")
            .and_then(|node| timeout(node, has_own_timeout, refusal, problems)),
        ensure,
        on_success,
        on_failure,
        on_error,
        on_abort,
        tags: ignored_tags(fields, problems),
    }
}

/// The timeout of a step with a container is read no earlier than the step runs, as in Concourse.
fn timeout(
    node: &Node,
    has_own_timeout: bool,
    refusal: &mut Refusal,
    problems: &mut Problems,
) -> Option<u64> {
    if !has_own_timeout || node.missing || !matches!(node.value, Value::Text(_)) {
        return duration(node, problems);
    }
    let mut inner = Problems::default();
    let found = duration(node, &mut inner);
    if let Some(problem) = inner.first() {
        refusal.say(node.mark, &*problem.message, problems);
    }
    found
}

fn across(node: &Rc<Node>, refusal: &mut Refusal, problems: &mut Problems) -> Option<Across> {
    let mut fields = Fields::new(node, "a variable of `across`", problems)?;
    let var = fields.text("var", problems).unwrap_or_default();
    if var.is_empty() {
        refusal.say(node.mark, "a variable of `across` has no name", problems);
    }
    let values = fields.get("values");
    let is_list = values.is_some_and(|node| matches!(node.value, Value::List(_)) || node.is_open());
    if !is_list {
        let mark = values.map_or(node.mark, |values| values.mark);
        refusal.say(mark, "the values of a variable of `across` are no list", problems);
    }
    let values = values.filter(|_| is_list).map_or(Json::List(Vec::new()), |node| node.to_json());
    let limit = fields.get("max_in_flight");
    let all = Some(Json::Text("all".to_owned()));
    let max_in_flight = match limit.map(|node| &node.value) {
        Some(Value::Text(text)) if text == "all" => all,
        Some(_) => match fields.limit("max_in_flight", problems) {
            Some(count) => Some(Json::of(&count)),
            None => {
                if let Some(node) = limit.filter(|node| matches!(node.value, Value::Number(_))) {
                    let problem = Problem::new(node.mark, "`max_in_flight` of `across` is 0");
                    problems.warn(problem.help("write `all`, which is what it means here"));
                }
                all
            }
        },
        None => None,
    };
    fields.finish(problems);
    Some(Across { var, values, max_in_flight })
}
