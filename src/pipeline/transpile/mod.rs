//! A YAML pipeline as a TypeScript pipeline that does the same.
//!
//! It calls the same functions as the interpreter; those that it needs follow below the pipeline, as
//! they are in `js/plan/`.

mod library;

use std::fmt::Write as _;

use serde::Serialize;

use concourse::json::{Json, JsonMap};
use concourse::plan::{Action, Job, Modifiers, Plan, Step, Task};

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
    printer.text.push_str(");\n\n// From here on: what the functions above do.\n\n");
    let library = library::used_by(&printer.text);
    printer.text.push_str(&library);
    printer.text
}

/// How long lines are, as far as values can be broken.
const WIDTH: usize = 95;

struct Printer {
    text: String,
    depth: usize,
}

/// A field whose value is a step.
type StepField<'a> = (&'static str, &'a Step);

impl Printer {
    fn job(&mut self, job: &Job) {
        let mut options = object(job);
        for part in ["plan", "passed", "ensure", "on_success", "on_failure", "on_error", "on_abort"]
        {
            options.remove(part);
        }
        let hooks = present([
            ("ensure", &job.ensure),
            ("on_success", &job.on_success),
            ("on_failure", &job.on_failure),
            ("on_error", &job.on_error),
            ("on_abort", &job.on_abort),
        ]);
        self.call("job", |printer| {
            printer.fields(options, Vec::new());
            printer.text.push_str(", ");
            printer.value(&Json::of(&job.passed));
            printer.text.push_str(", ");
            printer.with_hooks(hooks, |printer| {
                printer.call("sequence", |printer| printer.list(&job.plan, Self::step));
            });
        });
    }

    /// From the outside: `try`, hooks, across, attempts, timeout, and the step itself.
    fn step(&mut self, step: &Step) {
        let Modifiers { ensure, on_success, on_failure, on_error, on_abort, .. } = &step.modifiers;
        let hooks = present([
            ("ensure", ensure),
            ("on_success", on_success),
            ("on_failure", on_failure),
            ("on_error", on_error),
            ("on_abort", on_abort),
        ]);
        let hooked = |printer: &mut Self| {
            printer.with_hooks(hooks, |printer| printer.with_across(step));
        };
        match step.action {
            Action::Try(_) => self.call("attempt", hooked),
            _ => hooked(self),
        }
    }

    fn with_hooks(&mut self, hooks: Vec<StepField<'_>>, step: impl FnOnce(&mut Self)) {
        if hooks.is_empty() {
            return step(self);
        }
        self.call("hooked", |printer| {
            printer.depth += 1;
            printer.line();
            step(printer);
            printer.text.push(',');
            printer.line();
            printer.fields(Fields::default(), hooks);
            printer.text.push(',');
            printer.depth -= 1;
            printer.line();
        });
    }

    fn with_across(&mut self, step: &Step) {
        let Modifiers { across, fail_fast, .. } = &step.modifiers;
        if across.is_empty() {
            return self.with_attempts(step);
        }
        self.call("across", |printer| {
            printer.depth += 1;
            printer.line();
            printer.value(&Json::of(across));
            printer.text.push(',');
            printer.line();
            printer.with_attempts(step);
            printer.text.push(',');
            if let Some(fail_fast) = fail_fast {
                printer.line();
                _ = write!(printer.text, "{{ fail_fast: {fail_fast} }},");
            }
            printer.depth -= 1;
            printer.line();
        });
    }

    fn with_attempts(&mut self, step: &Step) {
        match step.modifiers.attempts {
            Some(attempts) if attempts > 1 => self.call("attempts", |printer| {
                _ = write!(printer.text, "{attempts}, ");
                printer.with_timeout(step);
            }),
            _ => self.with_timeout(step),
        }
    }

    fn with_timeout(&mut self, step: &Step) {
        match step.modifiers.timeout {
            Some(timeout) => self.call("timeout", |printer| {
                _ = write!(printer.text, "{timeout}, ");
                printer.unless_refused(step);
            }),
            None => self.unless_refused(step),
        }
    }

    fn unless_refused(&mut self, step: &Step) {
        match &step.refused {
            Some(reason) => self.call("refused", |p| p.value(&Json::Text(reason.clone()))),
            None => self.action(&step.action),
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Task(task) => self.task(task),
            Action::Get(get) => self.call("get", |p| p.fields(object(get), Vec::new())),
            Action::Put(put) => self.call("put", |p| p.fields(object(put), Vec::new())),
            Action::LoadVar(load_var) => {
                self.call("loadVar", |p| p.fields(object(load_var), Vec::new()));
            }
            Action::SetPipeline(set) => {
                self.call("setPipeline", |p| p.fields(object(set), Vec::new()));
            }
            Action::Run(run) => self.call("runMessage", |p| p.fields(object(run), Vec::new())),
            Action::Do(steps) => self.call("sequence", |p| p.list(&steps.r#do, Self::step)),
            Action::Try(steps) => self.call("sequence", |p| p.list(&steps.r#try, Self::step)),
            Action::InParallel(steps) => self.call("inParallel", |printer| {
                let mut options = object(&steps.in_parallel);
                options.remove("steps");
                printer.list(&steps.in_parallel.steps, Self::step);
                if !options.is_empty() {
                    printer.text.push_str(", ");
                    printer.fields(options, Vec::new());
                }
            }),
        }
    }

    fn task(&mut self, task: &Task) {
        let mut options = object(task);
        let config = options.remove("config");
        options.remove("file");
        self.call("task", |printer| {
            printer.fields(options, Vec::new());
            printer.text.push_str(", ");
            match (config, &task.file) {
                (Some(Json::Map(config)), _) => printer.fields(config, Vec::new()),
                (_, file) => {
                    let file = Json::Text(file.clone().unwrap_or_default());
                    printer.call("fromFile", |printer| printer.value(&file));
                }
            }
        });
    }

    fn call(&mut self, function: &str, arguments: impl FnOnce(&mut Self)) {
        self.text.push_str(function);
        self.text.push('(');
        arguments(self);
        self.text.push(')');
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
            fields.remove(name);
        }
        if steps.is_empty() {
            self.value(&Json::Map(fields));
            return;
        }
        self.text.push('{');
        self.depth += 1;
        for (name, value) in &fields.0 {
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

    fn value(&mut self, value: &Json) {
        let short = inline(value);
        let line = self.text.rfind('\n').map_or(0, |at| at + 1);
        if self.text[line..].chars().count() + short.chars().count() <= WIDTH {
            self.text.push_str(&short);
            return;
        }
        self.depth += 1;
        match value {
            Json::List(items) => {
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
            Json::Map(fields) => {
                self.text.push('{');
                for (name, field) in &fields.0 {
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

type Fields = JsonMap;

fn object(value: &impl Serialize) -> Fields {
    match Json::of(value) {
        Json::Map(fields) => fields,
        _ => Fields::default(),
    }
}

fn present<'a, const N: usize>(
    hooks: [(&'static str, &'a Option<Box<Step>>); N],
) -> Vec<StepField<'a>> {
    hooks.into_iter().filter_map(|(name, hook)| Some((name, hook.as_deref()?))).collect()
}

/// Fields without a value mean nothing.
fn without_nothing(fields: Fields) -> Fields {
    let means_something = |(name, value): &(String, Json)| {
        !value.is_empty() || matches!(name.as_str(), "execution" | "values" | "run")
    };
    JsonMap(fields.0.into_iter().filter(means_something).collect())
}

fn inline(value: &Json) -> String {
    match value {
        Json::List(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Map(fields) if fields.is_empty() => "{}".to_owned(),
        Json::Map(fields) => {
            let fields: Vec<String> = fields
                .0
                .iter()
                .map(|(name, value)| format!("{}: {}", key(name), inline(value)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Json::Number(number) if !is_of_javascript(number.get()) => format!("exact(\"{number}\")"),
        scalar => scalar.to_string(),
    }
}

/// Whether JavaScript writes a number in the same way.
fn is_of_javascript(number: &str) -> bool {
    let value = number.parse::<f64>().unwrap_or(f64::NAN);
    // Others get an exponent.
    let is_plain = value == 0.0 || (1e-6..1e21).contains(&value.abs());
    is_plain && number != "-0" && value.to_string() == number
}

/// A property's name. `__proto__` needs the brackets to be one.
fn key(name: &str) -> String {
    let plain = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match plain {
        true if name == "__proto__" => "[\"__proto__\"]".to_owned(),
        true => name.to_owned(),
        false => Json::Text(name.to_owned()).to_string(),
    }
}
