//! A driver for tests: it writes the words of a task's command, and runs nothing.
//!
//! It shows what adding a driver takes: this folder, and its line in the [registry](super::registry).

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::registration::{Capabilities, Interrupted, Registration, Setup};
use super::settings::invalid;
use super::{
    Driver, DriverError, NoticeSink, Pruned, RunIdentity, Sandbox, TaskEnd, TaskUpdate, UpdateSink,
    Volume,
};
use crate::task::{SandboxSpec, Stream, TaskExit, TaskSpec};
use crate::volume::VolumeName;

pub static REGISTRATION: Registration = Registration {
    name: "echo",
    keys: &["voice"],
    lists: &[],
    capabilities: Capabilities { images: false },
    parse: |settings| {
        let mut echo = Echo { is_loud: false };
        for setting in settings {
            echo.is_loud = match setting.value.as_str() {
                "loud" => true,
                "low" => false,
                other => return Err(invalid(setting.key, other, "`loud` or `low`")),
            };
        }
        Ok(Arc::new(echo))
    },
    interrupted: Interrupted { message: "ended at once", help: "nothing is left" },
};

#[derive(Clone, Debug)]
struct Echo {
    is_loud: bool,
}

#[async_trait]
impl Setup for Echo {
    async fn connect(
        &self,
        _: &RunIdentity,
        _: NoticeSink,
    ) -> Result<Arc<dyn Driver>, DriverError> {
        Ok(Arc::new(self.clone()))
    }

    async fn prune(&self) -> Result<Pruned, DriverError> {
        Ok(Pruned::default())
    }
}

#[async_trait]
impl Driver for Echo {
    fn name(&self) -> &'static str {
        REGISTRATION.name
    }

    fn capabilities(&self) -> Capabilities {
        REGISTRATION.capabilities
    }

    async fn create_volume(&self, _: &VolumeName, _: Option<u64>) -> Result<Volume, DriverError> {
        Err(DriverError::Refused("the `echo` driver has no volumes".to_owned()))
    }

    async fn run(&self, spec: &TaskSpec, updates: UpdateSink, _: CancellationToken) -> TaskEnd {
        let text = spec.exec.command.args.join(" ");
        let text = if self.is_loud { text.to_uppercase() } else { text };
        for update in [TaskUpdate::Started, TaskUpdate::Output(Stream::Stdout, text.into_bytes())] {
            // Nobody has to listen.
            _ = updates.send(update).await;
        }
        Ok(TaskExit::Code(0)).into()
    }

    async fn open_sandbox(&self, _: &SandboxSpec) -> Result<Arc<dyn Sandbox>, DriverError> {
        Err(DriverError::Refused("the `echo` driver has no sandboxes".to_owned()))
    }

    async fn end_tasks(&self) {}

    async fn close(&self) -> Result<(), DriverError> {
        Ok(())
    }
}

#[test]
fn a_driver_that_is_registered_runs_pipelines() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let script = write(
        "pipeline.ts",
        r#"export const pipeline = async () => {
            const command = { path: "say", args: ["hello", "there"] };
            const { stdout } = await runtime.run({ name: "greet", image: "x", command });
            assert.equal([stdout, pipelineContext.driverName], ["HELLO THERE", "echo"]);
        };"#,
    );
    // Without images, a task need not name one.
    let yaml = write(
        "pipeline.yml",
        "jobs: [{ name: j, plan: [{ task: t, config: { platform: linux, run: { path: x } } }] }]",
    );
    for (file, driver, succeeds) in [
        (&script, "echo://?voice=loud", true),
        (&script, "echo", false),
        (&yaml, "echo", true),
        (&script, "echo://?voice=high", false),
        (&script, "echo://?voise=loud", false),
    ] {
        let args = ["ci", "run", file, "--driver", driver];
        assert_eq!(crate::cli::succeeds(&args), succeeds, "{args:?}");
    }
    assert!(crate::cli::succeeds(&["ci", "prune", "--driver", "echo"]));
}
