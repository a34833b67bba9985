//! Who ends what, whoever is killed.

use super::*;

/// Starts a task and reads its first line. The task goes on.
async fn first_line<'a>(driver: &'a NativeDriver, spec: &'a TaskSpec) -> (String, Rest<'a>) {
    let (sink, mut chunks) = updates(4);
    let mut run = Box::pin(exit(driver.run(spec, sink, CancellationToken::new())));
    let line = tokio::select! {
        exit = &mut run => panic!("{exit:?}"),
        chunk = chunks.recv() => String::from_utf8(chunk.unwrap().1).unwrap(),
    };
    let rest = async move {
        let exit = run.await;
        drop(chunks);
        exit
    };
    (line, Box::pin(rest))
}

type Rest<'a> = Pin<Box<dyn Future<Output = Result<TaskExit, DriverError>> + 'a>>;

fn kill(pid: &str) {
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
}

/// Waits for what nothing announces.
async fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn runs(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[tokio::test]
async fn a_task_whose_reaper_is_killed_is_lost_and_nothing_stays() {
    let run = Run::start(MountMode::Auto).await;
    let script = "setsid sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1000; done' & \
                  wait";
    let spec = sh(script);
    let (daemon, rest) = first_line(&run.driver, &spec).await;
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.trim())).unwrap();
    let shell = stat.split_whitespace().nth(3).unwrap();
    let stat = fs::read_to_string(format!("/proc/{shell}/stat")).unwrap();
    kill(stat.split_whitespace().nth(3).unwrap());
    let error = rest.await.unwrap_err().to_string();
    assert!(error.contains("was ended from outside"), "{error}");
    // The command goes with its reaper, and what else there was at the end of the run.
    until(|| !runs(shell)).await;
    // Others are not affected.
    succeed(&run.driver, &sh("true")).await;
    run.end().await;
    assert!(!runs(daemon.trim()));
}

#[tokio::test]
async fn a_stopped_process_hears_that_it_is_to_end() {
    let run = Run::start(MountMode::Auto).await;
    let script = "sh -c 'trap \"echo woken; exit\" TERM; kill -STOP $$; wait' & trap '' TERM
                  until grep -q '^State:.*stopped' /proc/$!/status; do :; done; echo ready; wait";
    let (sink, mut chunks) = updates(4);
    let cancel = CancellationToken::new();
    let listen = async {
        let mut text = Vec::new();
        while let Some((_, bytes)) = chunks.recv().await {
            text.extend(bytes);
            cancel.cancel();
        }
        String::from_utf8(text).unwrap()
    };
    let spec = sh(script);
    let (exit, text) = tokio::join!(exit(run.driver.run(&spec, sink, cancel.clone())), listen);
    assert_eq!((exit.unwrap(), text.as_str()), (TaskExit::Cancelled, "ready\nwoken\n"));
    run.end().await;
}

#[tokio::test]
async fn running_tasks_outlive_the_supervisor_and_new_ones_say_what_happened() {
    let run = Run::start(MountMode::Auto).await;
    let shared = volume(&run.driver, "shared").await;
    let script = "mkfifo v/door; cut -d ' ' -f 4 /proc/$PPID/stat; cat v/door; exit 7";
    let spec = mounted(sh(script), &[(&shared, "v")]);
    let (supervisor, rest) = first_line(&run.driver, &spec).await;
    kill(&supervisor);
    let error = finish(&run.driver, &sh("true")).await.unwrap_err().to_string();
    assert!(error.contains("ended from outside"), "{error}");
    let door = std::path::Path::new(&shared.path).join("door");
    tokio::task::spawn_blocking(|| fs::write(door, "")).await.unwrap().unwrap();
    assert_eq!(rest.await.unwrap(), TaskExit::Code(7));
    run.end().await;
}

#[tokio::test]
#[ignore = "started by the tests below, in a process to be killed"]
async fn the_owner_of_a_run_that_is_killed() {
    let root = PathBuf::from(std::env::var_os("CI_TEST_ROOT").unwrap());
    let (driver, _) = start(&root, MountMode::Auto).await;
    let left = volume(&driver, "left").await;
    let script = "echo left > v/file; mkdir -p a/b; \
                  setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & wait' & \
                  (trap '' TERM; sleep 1000) & \
                  echo $(cut -d ' ' -f 4 /proc/$PPID/stat) $PPID $$ $(ls /proc/self/task); wait";
    let spec = mounted(sh(script), &[(&left, "v")]);
    let (line, rest) = first_line(&driver, &spec).await;
    println!("\nready {line}");
    let _ = rest.await;
}

#[tokio::test]
async fn when_the_owner_is_killed_its_tasks_die_and_the_next_run_cleans_up() {
    let root = tempfile::tempdir().unwrap();
    let mut owner = this_program("native::ending::the_owner_of_a_run_that_is_killed")
        .env("CI_TEST_ROOT", root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).find_map(|line| {
        Some(line.strip_prefix("ready ")?.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    });
    let pids = ready.unwrap();
    let slot = root.path().join("native/default/pipeline/0");
    assert!(runs(&pids[0]) && slot.join("tasks/test/a/b").exists());
    owner.kill().unwrap();
    owner.wait().unwrap();

    // The lock is free when the last process that could write there has ended. It is given back here
    // and now: a process that another test is about to start may have inherited the file.
    let lock = fs::File::open(slot.join("lock")).unwrap();
    let wait = move || lock.lock().and_then(|()| lock.unlock());
    tokio::task::spawn_blocking(wait).await.unwrap().unwrap();
    let left = tasks_below(root.path());
    let about = |process: &PathBuf| fs::read_to_string(process.join("status"));
    assert!(left.is_empty(), "{pids:?} {:?}", left.iter().map(about).collect::<Vec<_>>());

    let (driver, _) = start(root.path(), MountMode::Auto).await;
    assert_eq!(
        succeed(&driver, &sh("pwd; ls -A")).await,
        format!("{}/tasks/test\n", slot.display())
    );
    driver.close().await.unwrap();
    assert_eq!(files(root.path()), Vec::<PathBuf>::new());
}

/// The processes of tasks whose temporary files are below this directory.
fn tasks_below(root: &Path) -> Vec<PathBuf> {
    let variable = format!("TMPDIR={}", root.display());
    let mut processes = files(Path::new("/proc"));
    processes.retain(|process| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|pair| pair.starts_with(variable.as_bytes()))
    });
    processes
}
