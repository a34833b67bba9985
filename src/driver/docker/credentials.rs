//! What docker's configuration and its helpers know for a registry.

use std::path::PathBuf;
use std::process::Stdio;

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use mask::SecretValue;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::process::{hidden, masking};

/// What a helper prints if it has nothing for a registry.
const NOTHING: &str = "credentials not found";

/// The user that a helper names if the secret is a token.
const TOKEN: &str = "<token>";

/// The helper for registries of AWS, which needs the variables that others do not get.
const OF_AWS: &str = "ecr-login";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Who logs in to a registry, as it is filed in docker's configuration. `None` is nobody.
pub async fn credentials(registry: &str) -> Result<Option<DockerCredentials>, String> {
    // No file is as good as one without an entry.
    let Some(mut config) = configuration().await else { return Ok(None) };
    let helper = config.get("credHelpers").and_then(|helpers| text(helpers.get(registry)?));
    if let Some(helper) = helper {
        return ask(&helper, registry).await;
    }
    // Helpers are asked here, so that they end with the run and inherit no secrets.
    let store = config.remove("credsStore").and_then(|store| text(&store));
    config.remove("credHelpers");
    let config = Value::Object(config).to_string();
    match docker_credential::get_credential_from_reader(config.as_bytes(), registry) {
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(by_token(registry, token))),
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Some(by_password(registry, user, password)))
        }
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigReadError,
        ) => match store {
            Some(store) => ask(&store, registry).await,
            None => Ok(None),
        },
        Err(error) => Err(error.to_string()),
    }
}

async fn configuration() -> Option<Map<String, Value>> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home)?;
    let text = tokio::fs::read(directory.join("config.json")).await.ok()?;
    serde_json::from_slice(&text).ok()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Asks a helper. It is ended when nobody waits for its answer any more.
async fn ask(helper: &str, registry: &str) -> Result<Option<DockerCredentials>, String> {
    let program = format!("docker-credential-{helper}");
    // What a helper prints may be a secret.
    let failed = |why: &dyn std::fmt::Display| format!("the helper `{program}` failed: {why}");
    let mut command = Command::new(&program);
    for name in hidden::variables() {
        if helper != OF_AWS || !name.as_encoded_bytes().starts_with(b"AWS_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it knows the answer.
        _ = stdin.write_all(registry.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(&error))?;
    if !output.status.success() {
        return match String::from_utf8_lossy(&output.stdout).contains(NOTHING) {
            true => Ok(None),
            false => Err(failed(&output.status)),
        };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed(&"its answer is not what docker asks for"))?;
    Ok(Some(match answer {
        Answer { username, secret } if username == TOKEN => by_token(registry, secret),
        Answer { username, secret } => by_password(registry, username, secret),
    }))
}

/// An engine or a registry may repeat it in an error.
fn mask(registry: &str, secret: &str) {
    let name = format!("the password for `{registry}`");
    masking::add([(name, SecretValue::new(secret.as_bytes().to_vec()))]);
}

fn by_token(registry: &str, token: String) -> DockerCredentials {
    mask(registry, &token);
    DockerCredentials {
        identitytoken: Some(token),
        serveraddress: Some(registry.to_owned()),
        ..Default::default()
    }
}

fn by_password(registry: &str, user: String, password: String) -> DockerCredentials {
    mask(registry, &password);
    DockerCredentials {
        username: Some(user),
        password: Some(password),
        serveraddress: Some(registry.to_owned()),
        ..Default::default()
    }
}
