//! Folders in `tests/scenarios`: a pipeline, and beside it what running it prints, kept current with
//! `INSTA_UPDATE=always`.
//!
//! The first line of a pipeline may hold more arguments: `// args: --timeout 1s`, or `# args: …`.

use std::path::Path;

use crate::support::Ci;

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        /// The same, in containers.
        mod docker {
            $(
                #[test]
                fn $name() {
                    super::check_on_docker(stringify!($name));
                }
            )*
        }

        #[test]
        fn every_folder_is_a_test() {
            let mut folders: Vec<String> = std::fs::read_dir(root())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            folders.sort();
            assert_eq!(folders, [$(stringify!($name)),*]);
        }
    };
}

scenarios! {
    assertion
    bad_arguments
    circular_import
    command_not_found
    commonjs_package
    console_flood
    console_formats
    console_revoked_proxy
    core_schema
    default_export
    disposal_fails
    empty_file
    error_cause
    error_cause_value
    escapes_in_an_error
    export_equals
    failing_task
    failure_looked_at
    failure_unread
    failure_unread_after_throw
    failure_unread_many
    failure_unread_stuck
    globals
    heap_limit
    heap_limit_at_once
    heap_limit_buffers
    import_built_in
    import_equals
    import_failure_caught
    import_json_without_attribute
    import_missing
    import_missing_export
    import_missing_package
    import_network
    import_npm
    import_package_name_missing
    import_package_names
    import_syntax_error
    imports
    javascript
    javascript_error
    javascript_syntax_error
    many_names
    mount_escape
    non_error_throw
    not_a_function
    nothing_exported
    on_output
    on_output_stuck
    ops_out_of_reach
    output_without_newline
    own_context
    performance_marks
    same_import_twice_in_types
    sandbox
    signals
    source_url
    stack_trace
    syntax_error
    task_timeout
    throw_at_top_level
    timers_long
    types_only
    typescript
    unawaited_task
    unhandled_rejection
    unsettled_promise
    unsettled_top_level
    volume_modes
    volume_sizes
    while_true
    yaml
    yaml_across
    yaml_anchors
    yaml_artifacts
    yaml_attempts
    yaml_cache_in_output
    yaml_caches
    yaml_cycle
    yaml_error
    yaml_execution
    yaml_failure
    yaml_hermetic
    yaml_hooks
    yaml_hooks_fail
    yaml_hooks_never_heal
    yaml_image_artifact
    yaml_in_parallel
    yaml_job
    yaml_job_unknown
    yaml_load_var
    yaml_not_yaml
    yaml_notices
    yaml_null_is_empty
    yaml_parallelism
    yaml_problems
    yaml_refused
    yaml_resource_types
    yaml_resource_types_built_in
    yaml_resources
    yaml_run_dir_missing
    yaml_serial_groups
    yaml_set_pipeline
    yaml_steps
    yaml_tab
    yaml_task_file
    yaml_task_problems
    yaml_timeout
    yaml_try
    yaml_unknown_resource_type
    yaml_user
    yaml_vars
    yaml_vars_missing
    yaml_wrong_assert
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios"))
}

fn check(name: &str) {
    let folder = root().join(name);
    let transcript = scenario(&folder).run().transcript();
    matches("expected", &folder, &transcript);
    if name.starts_with("yaml_") {
        let store = tempfile::tempdir().unwrap();
        let driver = format!("native://?cache=file://{}", store.path().display());
        let cached = scenario(&folder).env("CI_DRIVER", driver).run().transcript();
        assert_eq!(without_cache(&cached), transcript, "with a cache");
    }
}

fn check_on_docker(name: &str) {
    let folder = root().join(name);
    let driver = format!("docker://scenarios?host={}", crate::docker::host());
    let transcript = scenario(&folder).env("CI_DRIVER", driver).run().transcript();
    // Where the driver has words of its own.
    if folder.join("docker.snap").exists() {
        matches("docker", &folder, &transcript);
    } else {
        let snapshot = std::fs::read_to_string(folder.join("expected.snap")).unwrap();
        let (_, expected) = snapshot.trim_start_matches("---\n").split_once("---\n").unwrap();
        assert_eq!(of_any_driver(&transcript), of_any_driver(expected));
    }
}

fn matches(snapshot: &str, folder: &Path, transcript: &str) {
    insta::with_settings!({
        snapshot_path => folder,
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(snapshot, transcript);
    });
}

/// Without what only one driver has to say.
fn of_any_driver(transcript: &str) -> String {
    let lines = transcript.trim_end().lines();
    lines
        .filter(|line| !line.starts_with("notice: the `native` driver"))
        .filter(|line| !line.starts_with("notice: the engine cannot bound the size of volumes"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// `ci run` of a scenario.
fn scenario(folder: &Path) -> Ci {
    let mut ci = Ci::new();
    let mut pipeline = None;
    for file in walk(folder) {
        let path = file.strip_prefix(folder).unwrap().to_str().unwrap();
        if path.starts_with("pipeline.") {
            pipeline = Some((path.to_owned(), std::fs::read_to_string(&file).unwrap()));
        }
        ci = ci.file(path, std::fs::read(&file).unwrap());
    }
    let (path, source) = pipeline.expect("a scenario has a pipeline");
    ci = ci.args(["run", "--output", "plain"]);
    if let Some(args) = source
        .lines()
        .next()
        .and_then(|line| line.trim_start_matches(['/', '#']).strip_prefix(" args: "))
    {
        ci = ci.args(args.split(' '));
    }
    ci.args([path])
}

/// What a run without a cache would have printed.
fn without_cache(transcript: &str) -> String {
    let said =
        ["* cache miss: ", "* restoring volume from cache: ", "* persisting volume to cache: "];
    let mut text = String::new();
    let mut in_table = false;
    for line in transcript.lines() {
        in_table = line.starts_with("CACHE ") || (in_table && !line.is_empty());
        let is_end = line.is_empty() && text.ends_with("\n\n");
        if !in_table && !is_end && !said.iter().any(|start| line.starts_with(start)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else if path.extension().is_none_or(|end| end != "snap" && end != "new") {
            files.push(path);
        }
    }
    files.sort();
    files
}
