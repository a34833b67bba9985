//! Bakes the sources in `js/` into a V8 snapshot, so that a run starts from a ready heap.
//!
//! The ops are not part of the snapshot: the build script cannot link the library that it is about to build.
//! They are registered when a run starts, and `js/` reaches them through `core.ops` inside of functions only.
//! Functions that any pipeline runs are in the snapshot compiled, since half of the time of a small run is V8
//! reading the snapshot.
//!
//! Compiles the program that containers with secrets start with, too.

#[path = "src/script/extension.rs"]
mod extension;
#[path = "src/script/transpile.rs"]
mod transpile;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use deno_core::snapshot::{CreateSnapshotOptions, create_snapshot};
use deno_error::JsErrorBox;

/// What any pipeline does first. Functions that ran are in the snapshot compiled.
const WARM_UP: &str = r#"
    runtime.run({
        name: "warm-up",
        image: "none",
        command: { path: "true", args: ["-"] },
        env: { A: "b" },
        mounts: [{ name: "warm-up", path: "a" }],
    }).catch(() => {});
    runtime.createVolume({ name: "warm-up" }).catch(() => {});
    assert.equal(0, 0);
    assert.containsString("warm-up", "warm");
"#;

/// The program that containers with secrets start with.
const LAUNCHER: &str = "src/driver/docker/launcher/main.rs";

fn main() {
    for input in ["js", "src/script/extension.rs", "src/script/transpile.rs", LAUNCHER] {
        println!("cargo:rerun-if-changed={input}");
    }
    let snapshot = create_snapshot(
        CreateSnapshotOptions {
            cargo_manifest_dir: env!("CARGO_MANIFEST_DIR"),
            startup_snapshot: None,
            skip_op_registration: false,
            extensions: extension::with_sources(),
            extension_transpiler: Some(Rc::new(|specifier, source| {
                if Path::new(specifier.as_str()).extension().is_none_or(|end| end != "ts") {
                    return Ok((source, None));
                }
                let script = transpile::transpile(specifier.as_str(), source.as_str().to_owned())
                    .map_err(|error| {
                    JsErrorBox::generic(format!("{specifier:?}: {error:?}"))
                })?;
                Ok((script.code.into(), Some(script.source_map.into())))
            })),
            with_runtime_cb: Some(Box::new(|runtime| {
                runtime.execute_script("ext:ci/warm-up", WARM_UP).expect("the sources in js/ run");
            })),
        },
        None,
    )
    .expect("the sources in js/ load");

    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("snapshot.bin"), snapshot.output).expect("OUT_DIR is writable");
    launcher(&out.join("launcher"));
}

/// Compiles the launcher to a program that needs nothing of the image that it runs in. Cargo has no way to make a
/// package that another one embeds, and a profile cannot make one package of a workspace abort on a panic.
fn launcher(program: &Path) {
    let processor = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    assert!(
        ["x86_64", "aarch64"].contains(&processor.as_str()),
        "`{LAUNCHER}` knows the system calls of x86_64 and aarch64, and not those of {processor}"
    );
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-name", "launcher", "--target", &variable("TARGET")]);
    rustc.args([
        "-Copt-level=s",
        "-Cpanic=abort",
        "-Crelocation-model=static",
        "-Cstrip=symbols",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-static",
    ]);
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let status = rustc.arg(LAUNCHER).arg("-o").arg(program).status();
    let status = status.expect("rustc can be started");
    assert!(status.success(), "`{LAUNCHER}` does not compile: {status}");
}
