//! The list of everything that is injected into the runtime.
//!
//! The build script loads the sources into the snapshot; a run gets the same extensions without
//! sources, and with the ops of [`ops`](super::ops), which only exist at run time.

use std::sync::Arc;

use deno_core::Extension;

deno_core::extension!(
    ci,
    deps = [deno_webidl, deno_web],
    esm_entry_point = "ext:ci/main.ts",
    esm = [
        dir "js",
        "main.ts",
        "assert.ts",
        "assertion_error.ts",
        "call.ts",
        "call_site.ts",
        "checks.ts",
        "console.ts",
        "context.ts",
        "crypto.ts",
        "difference.ts",
        "env.ts",
        "equal.ts",
        "errors.ts",
        "failures.ts",
        "field.ts",
        "files.ts",
        "globals.ts",
        "inspect.ts",
        "memory.ts",
        "mounts.ts",
        "ops.ts",
        "pending.ts",
        "plain.ts",
        "plan/caches.ts",
        "plan/clock.ts",
        "plan/config.ts",
        "plan/files.ts",
        "plan/interpret.ts",
        "plan/jobs.ts",
        "plan/local.ts",
        "plan/modifiers.ts",
        "plan/outcomes.ts",
        "plan/reports.ts",
        "plan/resource_types.ts",
        "plan/resources.ts",
        "plan/slots.ts",
        "plan/steps.ts",
        "plan/task.ts",
        "plan/types.ts",
        "plan/vars.ts",
        "printing.ts",
        "run.ts",
        "runtime.ts",
        "sandbox.ts",
        "script.ts",
        "secret.ts",
        "source.ts",
        "task.ts",
        "timers.ts",
        "volume.ts",
        "yaml.ts",
    ],
);

/// As the build script needs them.
#[allow(dead_code, reason = "used by the build script")]
pub fn with_sources() -> Vec<Extension> {
    vec![deno_webidl::deno_webidl::init(), web(), ci::init()]
}

/// As a runtime that starts from the snapshot needs them.
#[allow(dead_code, reason = "used by the engine")]
pub fn from_snapshot() -> Vec<Extension> {
    let mut ci = ci::init();
    ci.esm_files = Default::default();
    ci.esm_entry_point = None;
    vec![deno_webidl::deno_webidl::init(), web(), ci]
}

fn web() -> Extension {
    deno_web::deno_web::init(
        Arc::new(deno_web::BlobStore::default()),
        None,
        false,
        deno_web::InMemoryBroadcastChannel::default(),
    )
}
