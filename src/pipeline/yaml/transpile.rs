//! A plan as a TypeScript pipeline.
//!
//! The file calls the same functions as the interpreter; their sources in `js/plan/` follow below the
//! pipeline, as one module.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::check::passed;
use super::plan::{Action, Job, Modifiers, Plan, Step};

/// The functions that steps are made of, in the order in which a reader wants them.
const LIBRARY: [&str; 10] = [
    include_str!("../../../js/plan/jobs.ts"),
    include_str!("../../../js/plan/steps.ts"),
    include_str!("../../../js/plan/task.ts"),
    include_str!("../../../js/plan/files.ts"),
    include_str!("../../../js/plan/resources.ts"),
    include_str!("../../../js/plan/resource_types.ts"),
    include_str!("../../../js/plan/modifiers.ts"),
    include_str!("../../../js/plan/slots.ts"),
    include_str!("../../../js/plan/caches.ts"),
    include_str!("../../../js/plan/types.ts"),
];
const VARS: &str = include_str!("../../../js/plan/vars.ts");

/// The pipeline, with a line feed at the end. `from` is the file that it comes from.
pub fn transpile(plan: &Plan, from: &str) -> String {
    let mut printer = Printer { text: String::new(), depth: 0 };
    let from: String = from.chars().filter(|c| !c.is_control()).collect();
    _ = writeln!(printer.text, "// Written by `ci transpile` from {from}.\n");
    printer.text.push_str("export const pipeline: Pipeline = () =>\n  runJobs(");
    printer.depth = 1;
    let mut options = object(plan);
    options.remove("jobs");
    printer.fields(options, Vec::new());
    printer.text.push_str(", ");
    printer.list(&plan.jobs, Printer::job);
    printer.text.push_str(");\n\n// From here on: what the functions above do.\n");
    for source in LIBRARY.into_iter().chain([VARS]) {
        module_part(source, &mut printer.text);
    }
    printer.text
}

/// A source without its imports and exports.
fn module_part(source: &str, text: &mut String) {
    let mut in_import = false;
    text.push('\n');
    for line in source.lines() {
        in_import |= line.starts_with("import ");
        if in_import {
            in_import = !line.ends_with(';');
            continue;
        }
        text.push_str(line.strip_prefix("export ").unwrap_or(line));
        text.push('\n');
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
}

struct Printer {
    text: String,
    depth: usize,
}

/// A field whose value is a step.
type StepField<'a> = (&'static str, &'a Step);

impl Printer {
    fn job(&mut self, job: &Job) {
        let mut fields = object(job);
        fields.remove("plan");
        let steps = [
            ("ensure", &job.ensure),
            ("on_success", &job.on_success),
            ("on_failure", &job.on_failure),
            ("on_error", &job.on_error),
            ("on_abort", &job.on_abort),
        ];
        self.text.push_str("job(");
        self.fields(fields, present(steps));
        self.text.push_str(", ");
        self.value(&passed(job).into());
        self.text.push_str(", ");
        self.list(&job.plan, Self::step);
        self.text.push(')');
    }

    fn step(&mut self, step: &Step) {
        match &step.action {
            Action::Task(task) => self.call("task", object(task)),
            Action::Get(get) => self.call("get", object(get)),
            Action::Put(put) => self.call("put", object(put)),
            Action::LoadVar(load_var) => self.call("loadVar", object(load_var)),
            Action::Do(steps) => {
                self.text.push_str("sequence(");
                self.list(&steps.r#do, Self::step);
            }
            Action::Try(steps) => {
                self.text.push_str("attempt(");
                self.list(&steps.r#try, Self::step);
            }
            Action::InParallel(steps) => {
                let steps = &steps.in_parallel;
                self.text.push_str("inParallel({ ");
                if let Some(limit) = steps.limit {
                    _ = write!(self.text, "limit: {limit}, ");
                }
                if let Some(fail_fast) = steps.fail_fast {
                    _ = write!(self.text, "fail_fast: {fail_fast}, ");
                }
                self.text.push_str("steps: ");
                self.list(&steps.steps, Self::step);
                self.text.push_str(" }");
            }
        }
        self.modifiers(&step.modifiers);
        self.text.push(')');
    }

    fn call(&mut self, function: &str, fields: Fields) {
        self.text.push_str(function);
        self.text.push('(');
        self.fields(fields, Vec::new());
    }

    fn modifiers(&mut self, modifiers: &Modifiers) {
        let Modifiers { ensure, on_success, on_failure, on_error, on_abort, .. } = modifiers;
        let steps = present([
            ("ensure", ensure),
            ("on_success", on_success),
            ("on_failure", on_failure),
            ("on_error", on_error),
            ("on_abort", on_abort),
        ]);
        let fields = without_nothing(object(modifiers));
        if !fields.is_empty() || !steps.is_empty() {
            self.text.push_str(", ");
            self.fields(fields, steps);
        }
    }

    fn list<T>(&mut self, items: &[T], mut print: impl FnMut(&mut Self, &T)) {
        if items.is_empty() {
            self.text.push_str("[]");
            return;
        }
        self.text.push('[');
        self.depth += 1;
        for item in items {
            self.line();
            print(self, item);
            self.text.push(',');
        }
        self.depth -= 1;
        self.line();
        self.text.push(']');
    }

    /// An object of plain values, then of steps, on one line if it fits.
    fn fields(&mut self, fields: Fields, steps: Vec<StepField<'_>>) {
        let mut fields = without_nothing(fields);
        for (name, _) in &steps {
            fields.remove(*name);
        }
        if steps.is_empty() {
            self.value(&fields.into());
            return;
        }
        self.text.push('{');
        self.depth += 1;
        for (name, value) in &fields {
            self.line();
            _ = write!(self.text, "{}: ", key(name));
            self.value(value);
            self.text.push(',');
        }
        for (name, step) in steps {
            self.line();
            _ = write!(self.text, "{name}: ");
            self.step(step);
            self.text.push(',');
        }
        self.depth -= 1;
        self.line();
        self.text.push('}');
    }

    fn value(&mut self, value: &Value) {
        let short = inline(value);
        if short.chars().count() + 2 * self.depth <= 90 {
            self.text.push_str(&short);
            return;
        }
        self.depth += 1;
        match value {
            Value::Array(items) => {
                self.text.push('[');
                for item in items {
                    self.line();
                    self.value(item);
                    self.text.push(',');
                }
                self.depth -= 1;
                self.line();
                self.text.push(']');
            }
            Value::Object(fields) => {
                self.text.push('{');
                for (name, field) in fields {
                    self.line();
                    _ = write!(self.text, "{}: ", key(name));
                    self.value(field);
                    self.text.push(',');
                }
                self.depth -= 1;
                self.line();
                self.text.push('}');
            }
            _ => {
                self.depth -= 1;
                self.text.push_str(&short);
            }
        }
    }

    fn line(&mut self) {
        self.text.push('\n');
        self.text.push_str(&"  ".repeat(self.depth));
    }
}

type Fields = serde_json::Map<String, Value>;

fn object(value: &impl Serialize) -> Fields {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        _ => Fields::new(),
    }
}

fn present<'a, const N: usize>(
    hooks: [(&'static str, &'a Option<Box<Step>>); N],
) -> Vec<StepField<'a>> {
    hooks.into_iter().filter_map(|(name, hook)| Some((name, hook.as_deref()?))).collect()
}

/// Fields without a value mean nothing.
fn without_nothing(fields: Fields) -> Fields {
    let nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    fields
        .into_iter()
        .filter(|(name, value)| !nothing(value) || name == "execution" || name == "values")
        .collect()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", key(name), inline(value)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// A property's name. `__proto__` needs the brackets to be one.
fn key(name: &str) -> String {
    let plain = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match plain {
        true if name == "__proto__" => "[\"__proto__\"]".to_owned(),
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}
