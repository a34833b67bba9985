//! Bakes the sources in `js/` into a V8 snapshot, so that a run starts from a ready heap.

#[path = "src/script/extension.rs"]
mod extension;
#[path = "src/script/transpile.rs"]
mod transpile;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use deno_core::snapshot::{CreateSnapshotOptions, create_snapshot};
use deno_error::JsErrorBox;

fn main() {
    for input in ["js", "src/script/extension.rs", "src/script/transpile.rs"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let snapshot = create_snapshot(
        CreateSnapshotOptions {
            cargo_manifest_dir: env!("CARGO_MANIFEST_DIR"),
            startup_snapshot: None,
            skip_op_registration: false,
            extensions: extension::with_sources(),
            extension_transpiler: Some(Rc::new(|specifier, source| {
                if !Path::new(specifier.as_str()).extension().is_some_and(|end| end == "ts") {
                    return Ok((source, None));
                }
                let script = transpile::transpile(specifier.as_str(), source.as_str().to_owned())
                    .map_err(|error| {
                    JsErrorBox::generic(format!("{specifier:?}: {error:?}"))
                })?;
                Ok((script.code.into(), Some(script.source_map.into())))
            })),
            with_runtime_cb: None,
        },
        None,
    )
    .expect("the sources in js/ load");

    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("snapshot.bin"), snapshot.output).expect("OUT_DIR is writable");
}
