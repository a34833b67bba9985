//! From the names that the pipeline's code has to the values that tasks get.

use std::sync::Arc;

use deno_core::{OpState, op2};
use deno_error::JsErrorBox;
use mask::SecretValue;

use crate::context::RunContext;
use crate::process::masking;
use crate::secret::as_text;
use crate::suggest::did_you_mean;
use crate::task::{Command, SecretFile};

type Pairs = Vec<(String, String)>;

/// What is wrong with the name of a secret; `null` if there is one of that name.
#[op2]
#[string]
pub fn op_secret_problem(state: &mut OpState, #[string] name: &str) -> Option<String> {
    find(state.borrow::<Arc<RunContext>>(), name).err()
}

fn find<'a>(context: &'a RunContext, name: &str) -> Result<&'a SecretValue, String> {
    let secrets = &context.given.secrets;
    secrets.get(name).ok_or_else(|| {
        let known: Vec<&str> = secrets.names().collect();
        let shown = masking::text(name);
        match did_you_mean(name, &known) {
            hint if hint.is_empty() => {
                format!("there is no secret `{shown}`, pass `--secret {shown}` to `ci run`")
            }
            hint => format!("there is no secret `{shown}`{hint}"),
        }
    })
}

fn value(context: &RunContext, name: &str) -> Result<SecretValue, JsErrorBox> {
    find(context, name).cloned().map_err(JsErrorBox::type_error)
}

/// The variables of a command: those without secrets, and those with one. `named` are names of variables and of
/// secrets. A value in which a secret is found, as YAML has it, is as secret as that.
pub fn variables(
    context: &RunContext,
    env: Pairs,
    named: Pairs,
) -> Result<(Pairs, Vec<(String, SecretValue)>), JsErrorBox> {
    let mut secret = Vec::with_capacity(named.len());
    for (variable, name) in named {
        let value = value(context, &name)?;
        let text = as_text(&value).filter(|text| !text.contains('\0')).ok_or_else(|| {
            JsErrorBox::type_error(format!(
                "env.{variable}: the secret `{name}` is not text, hand it over in `secrets` or `stdin`"
            ))
        })?;
        secret.push((variable, SecretValue::new(text.as_bytes().to_vec())));
    }
    let is_plain = |text: &str| context.given.secrets.within(text).is_none();
    let (plain, other): (Pairs, Pairs) = env.into_iter().partition(|(_, text)| is_plain(text));
    let others = other.into_iter().map(|(name, text)| (name, SecretValue::new(text.into_bytes())));
    secret.extend(others);
    Ok((plain, secret))
}

/// The files of a container: paths, and names of secrets.
pub fn files(context: &RunContext, named: Pairs) -> Result<Vec<SecretFile>, JsErrorBox> {
    let file = |(path, name): (String, String)| {
        Ok(SecretFile { path: path.into(), value: value(context, &name)? })
    };
    named.into_iter().map(file).collect()
}

/// What a command reads.
pub fn bytes(context: &RunContext, name: &str) -> Result<Vec<u8>, JsErrorBox> {
    Ok(value(context, name)?.expose().to_vec())
}

/// Refuses a name or a path with a secret in it, which drivers and stores show and keep.
pub fn check_names<'a>(
    context: &RunContext,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), JsErrorBox> {
    match names.into_iter().find_map(|name| context.given.secrets.within(name)) {
        Some(secret) => Err(JsErrorBox::type_error(format!(
            "the name of a volume or a path has the value of the secret `{secret}`, and those are shown and kept; \
             choose another one"
        ))),
        None => Ok(()),
    }
}

/// Refuses a command that would show a secret to everybody who lists processes.
pub fn check_command(context: &RunContext, command: &Command) -> Result<(), JsErrorBox> {
    let mut words = std::iter::once(&command.path).chain(&command.args);
    match words.find_map(|word| context.given.secrets.within(word)) {
        Some(name) => Err(JsErrorBox::type_error(format!(
            "the command has the value of the secret `{name}`, which every process list would show; hand it over \
             in a variable (`env`, or `params` in YAML) and let the command read that"
        ))),
        None => Ok(()),
    }
}
