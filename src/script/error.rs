//! What can go wrong with a pipeline's code, told in terms of the user's own files.

use std::path::Path;

use deno_core::error::{CoreError, CoreErrorKind, JsError, JsStackFrame};
use deno_core::url::Url;
use diagnostic::{Diagnostic, Place};

use super::project::Project;
use super::shown_path::relative;

#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file, or one that it imports, is not a pipeline that can be run.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
    /// The pipeline ran and threw.
    #[error("{0}")]
    Failed(Box<Diagnostic>),
    /// Somebody else ended it.
    #[error("the pipeline was stopped")]
    Terminated,
}

impl ScriptError {
    pub fn invalid(diagnostic: Diagnostic) -> Self {
        Self::Invalid(Box::new(diagnostic))
    }

    pub fn failed(diagnostic: Diagnostic) -> Self {
        Self::Failed(Box::new(diagnostic))
    }
}

/// An error of code that ran, in the user's terms: their files, their frames, their line.
pub fn describe(
    project: &Project,
    error: &CoreError,
    disposals: &mut dyn FnMut(u32) -> Vec<JsError>,
) -> Diagnostic {
    match error.as_kind() {
        CoreErrorKind::Js(error) => {
            let mut diagnostic = describe_js(project, error, disposals, 0);
            diagnostic.message.insert_str(0, "uncaught ");
            if diagnostic.message.contains(OUT_OF_BUFFERS) {
                let help = "keep less in typed arrays, or raise the limit with `--js-heap`";
                diagnostic = diagnostic.help(help);
            }
            diagnostic
        }
        _ => Diagnostic::new(error.to_string()),
    }
}

/// An error of code that could not be run. No calls led there, so there is no stack.
pub fn describe_invalid(project: &Project, error: &CoreError) -> Diagnostic {
    match error.as_kind() {
        CoreErrorKind::Js(error) => {
            Diagnostic { stack: Vec::new(), ..describe_js(project, error, &mut |_| Vec::new(), 0) }
        }
        _ => Diagnostic::new(error.to_string()),
    }
}

/// How many errors of a chain of causes are shown.
const MAX_CAUSES: usize = 8;

/// How V8 says that there is no memory for a typed array.
const OUT_OF_BUFFERS: &str = "Array buffer allocation failed";

/// `disposals` returns the errors behind a `SuppressedError`, by the number that is its message: first
/// what a block threw, then what the disposal of its resources threw.
pub fn describe_js(
    project: &Project,
    error: &JsError,
    disposals: &mut dyn FnMut(u32) -> Vec<JsError>,
    depth: usize,
) -> Diagnostic {
    let number = error.exception_message.split_once('\u{1}');
    if let Some(number) = number.and_then(|(_, number)| number.parse().ok())
        && depth < MAX_CAUSES
    {
        let parts = disposals(number);
        let mut parts = parts.iter().map(|part| describe_js(project, part, disposals, depth + 1));
        if let Some(mut first) = parts.next() {
            for mut later in parts {
                later.label = Some("while disposing");
                first.causes.push(later);
            }
            return first;
        }
    }
    let message = error.exception_message.trim_start_matches("Uncaught ");
    let message = message.trim_start_matches("(in promise) ");
    let frames: Vec<&JsStackFrame> = error.frames.iter().filter(|frame| is_users(frame)).collect();
    let mut diagnostic = Diagnostic {
        message: message.to_owned(),
        place: frames.iter().find_map(|frame| place(project, frame)),
        stack: frames.iter().map(|frame| describe_frame(frame)).collect(),
        ..Diagnostic::default()
    };
    if depth < MAX_CAUSES {
        let related = error.aggregated.iter().flatten().chain(error.cause.as_deref());
        for error in related {
            let mut cause = describe_js(project, error, disposals, depth + 1);
            let deeper = std::mem::take(&mut cause.causes);
            diagnostic.causes.push(cause);
            diagnostic.causes.extend(deeper);
        }
    }
    diagnostic
}

/// Frames of the runtime itself explain nothing to a user.
fn is_users(frame: &JsStackFrame) -> bool {
    frame.file_name.as_deref().is_some_and(|name| name.starts_with("file:"))
}

fn place(project: &Project, frame: &JsStackFrame) -> Option<Place> {
    let file = Url::parse(frame.file_name.as_deref()?).ok()?.to_file_path().ok()?;
    let line = usize::try_from(frame.line_number?).ok()?;
    let column = usize::try_from(frame.column_number?).ok()?;
    place_in(project, &file, line, column)
}

/// A position in a file as it is now; `None` when the file has no such line.
///
/// A pipeline can name any file as the source of its code, so only files of the project are quoted.
pub fn place_in(project: &Project, file: &Path, line: usize, column: usize) -> Option<Place> {
    let source = project.read(file).ok()?;
    let text = source.lines().nth(line.checked_sub(1)?)?.to_owned();
    Some(Place { path: relative(file), line, column, text })
}

/// Where a module imports `specifier`, as far as its text tells.
pub fn place_of_import(project: &Project, file: &Path, specifier: &str) -> Option<Place> {
    let source = project.read(file).ok()?;
    let quoted = ['"', '\''].map(|quote| format!("{quote}{specifier}{quote}"));
    source.lines().enumerate().find_map(|(index, text)| {
        let at = quoted.iter().find_map(|quoted| text.find(quoted))?;
        let column = text[..at].encode_utf16().count() + 1;
        Some(Place { path: relative(file), line: index + 1, column, text: text.to_owned() })
    })
}

fn describe_frame(frame: &JsStackFrame) -> String {
    let file = frame.file_name.as_deref().unwrap_or_default();
    let path = Url::parse(file)
        .ok()
        .and_then(|url| url.to_file_path().ok())
        .map_or_else(|| file.to_owned(), |path| relative(&path));
    let mut at = path;
    for number in [frame.line_number, frame.column_number].into_iter().flatten() {
        at.push_str(&format!(":{number}"));
    }
    let prefix = if frame.is_async { "async " } else { "" };
    let function = match (&frame.type_name, &frame.function_name, &frame.method_name) {
        (_, Some(function), _) if frame.is_constructor => format!("new {function}"),
        (Some(of), Some(function), _) if !frame.is_top_level.unwrap_or(true) => {
            if function.starts_with(of.as_str()) {
                function.clone()
            } else {
                format!("{of}.{function}")
            }
        }
        (_, Some(function), _) => function.clone(),
        (_, None, Some(method)) => method.clone(),
        (_, None, None) => return format!("{prefix}{at}"),
    };
    format!("{prefix}{function} ({at})")
}

/// Where no code has run that could dispose of something.
pub fn no_disposals(_: u32) -> Vec<JsError> {
    Vec::new()
}
