//! The project's files in containers.

crate::project_files! { &format!("docker://project?host={}&grace=1s", super::host()) }

/// An image is needed here, from the pipeline or from the command line.
#[test]
fn a_task_without_an_image_takes_that_of_the_command_line() {
    let run = |args: &[&str]| {
        crate::support::Ci::pipeline(
            r#"await runtime.run({ name: "t", command: ["cat", "/etc/debian_version"] });"#,
        )
        .args(["--driver", &super::dsn("images"), "--output", "plain"])
        .args(args)
        .run()
    };
    run(&[]).exits(1).stderr_has("image: expected an image such as").stderr_has("pass `--image`");
    run(&["--image", "debian:12"]).exits(0).stdout_has("[t] 12");
}
