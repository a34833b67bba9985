//! Other users, and machines that allow less.

use super::*;

#[tokio::test]
async fn root_runs_tasks_as_other_users() {
    if !is_root() {
        return;
    }
    let run = Run::start(MountMode::Bind).await;
    let (old, new) = (volume(&run.driver, "old").await, volume(&run.driver, "new").await);
    succeed(&run.driver, &mounted(sh("echo root > v/file"), &[(&old, "v")])).await;
    let as_user = |user: &str, script: &str| {
        let mut spec = mounted(sh(script), &[(&old, "old"), (&new, "deep/new")]);
        spec.exec.command.user = Some(user.into());
        spec
    };
    let script = "id -un; id -gn; id -G; echo $USER $HOME; touch file $TMPDIR/x deep/new/y deep/z; \
                  cat old/file; touch old/x 2>/dev/null || echo old is read only";
    let text = succeed(&run.driver, &as_user("nobody", script)).await;
    let expected = "nobody\nnogroup\n65534\nnobody /nonexistent\nroot\nold is read only\n";
    assert_eq!(text, expected);
    assert_eq!(fs::metadata(&new.path).unwrap().uid(), 65534);
    let table = [("65534", "65534 65534"), ("1234:4321", "1234 4321"), ("nobody:root", "65534 0")];
    for (user, ids) in table {
        let mut spec = sh("echo $(id -u) $(id -g); touch x");
        spec.exec.command.user = Some(user.into());
        assert_eq!(succeed(&run.driver, &spec).await, format!("{ids}\n"));
    }
    // Root again, in a directory that was somebody else's.
    assert_eq!(succeed(&run.driver, &sh("stat -c %u . $TMPDIR")).await, "0\n0\n");
    for (user, problem) in [("no-such", "there is no user"), ("0:no-such", "there is no group")] {
        let mut spec = sh("true");
        spec.exec.command.user = Some(user.into());
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    run.end().await;
}

#[tokio::test]
#[ignore = "started by the test below, with a cache directory that cannot be written"]
async fn a_run_with_a_read_only_cache_directory() {
    let config = NativeConfig { supervisor: Some(supervisor()), ..NativeConfig::default() };
    let sink = Arc::new(|notice| println!("\nnotice {notice}"));
    let driver = NativeDriver::start(&config, &identity(), sink).await.unwrap();
    println!("\nin {}", succeed(&driver, &sh("pwd")).await);
    driver.close().await.unwrap();
}

#[test]
fn a_cache_directory_that_cannot_be_written_is_replaced() {
    let tmp = tempfile::tempdir().unwrap();
    let output = this_program("native::machine::a_run_with_a_read_only_cache_directory")
        // Nobody can make a directory there, not even root.
        .env("XDG_CACHE_HOME", "/proc/cache")
        .env("TMPDIR", tmp.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let private = tmp.path().join(format!("ci-{}", nix::unistd::geteuid()));
    let expected = format!(
        "notice working directories are in `{}`, because `/proc/cache/ci` cannot be used: ",
        private.display()
    );
    assert!(text.contains(&expected), "{text}");
    let expected = format!("in {}/native/default/pipeline/0/tasks/test\n", private.display());
    assert!(text.contains(&expected), "{text}");
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(files(&private), Vec::<PathBuf>::new());
}

#[tokio::test]
#[ignore = "started by the test below, without the right to mount"]
async fn a_run_that_may_not_mount() {
    let run = Run::start(MountMode::Auto).await;
    let (a, b) = (volume(&run.driver, "a").await, volume(&run.driver, "b").await);
    for _ in 0..2 {
        let spec = mounted(sh("test -L x/a -a -L b; touch b/f"), &[(&a, "x/a"), (&b, "b")]);
        succeed(&run.driver, &spec).await;
    }
    for notice in run.notices.lock().unwrap().iter() {
        println!("\nnotice {notice}");
    }
    run.end().await;
    let run = Run::start(MountMode::Bind).await;
    let a = volume(&run.driver, "a").await;
    let error = finish(&run.driver, &mounted(sh("true"), &[(&a, "a")])).await.unwrap_err();
    println!("error {error}");
    run.end().await;
}

#[test]
fn where_mounts_are_impossible_volumes_are_linked() {
    if !is_root() {
        return;
    }
    let program = this_program("native::machine::a_run_that_may_not_mount");
    let output = Command::new("setpriv")
        .arg("--bounding-set=-sys_admin")
        .arg(program.get_program())
        .args(program.get_args())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let notices: Vec<&str> = text.lines().filter(|line| line.contains("symbolic links")).collect();
    let expected = "notice volumes are symbolic links in the working directory, because they \
                    cannot be mounted here (cannot make a mount namespace: ";
    assert!(notices.len() == 1 && notices[0].starts_with(expected), "{text}");
    assert!(text.contains("error volumes cannot be mounted, run as root, allow user"), "{text}");
}

/// Runs tests of this program once more as an ordinary user, for whom its files may be out of
/// reach where they are.
#[test]
fn the_suite_holds_for_an_ordinary_user() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    chown(home.path(), Some(65534), Some(65534)).unwrap();
    let copy = |from: &Path, name: &str| {
        let to = home.path().join(name);
        fs::copy(from, &to).unwrap();
        to
    };
    let program = copy(&std::env::current_exe().unwrap(), "it");
    let supervisor = copy(&supervisor(), "ci");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(["native::", "--skip", "native::link", "--test-threads=4"])
        .current_dir(home.path())
        .env("CI_TEST_SUPERVISOR", supervisor)
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("bind::volumes_can_be_mounted"), "{text}");
}

/// With 64 open files, tasks wait for each other instead of failing.
#[test]
fn few_open_files_are_enough_for_many_tasks() {
    let test = "native::bind::many_tasks_run_at_the_same_time";
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 160 && exec \"$0\" --exact \"$1\" --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn an_ordinary_user_cannot_run_tasks_as_another() {
    if is_root() {
        return;
    }
    let run = Run::start(MountMode::Auto).await;
    let mut spec = sh("id -u");
    spec.exec.command.user = Some("root".into());
    let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
    assert_eq!(error, "user `root`: only root can run a task as another user, leave `user` out");
    spec.exec.command.user = Some(nix::unistd::geteuid().to_string());
    let Finished { exit, .. } = finish(&run.driver, &spec).await.unwrap();
    assert_eq!(exit, TaskExit::Code(0));
    run.end().await;
}
