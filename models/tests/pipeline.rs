//! Archives that are unpacked and packed at once. The threads do what those of `decompress`, `writer` and
//! `compress` do: they take memory and hand it on. No schedule lets one wait for ever, which the model
//! checker reports as a deadlock.

use ci_models::budget::{Budget, RESERVE, Share};
use ci_models::control::{Control, Stopped};
use ci_models::ordered::{Next, Producer, Slot, ordered};
use ci_models::queue::{Receiver, Sender, queue};
use shuttle::thread::{self, JoinHandle};

/// How many schedules are tried.
const SCHEDULES: usize = 300;

const BATCH: usize = 2;

/// What is read at once of a frame that is too large.
const BLOCK: usize = RESERVE / 2;

fn check(model: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(model.clone(), SCHEDULES);
    // Schedules with few, but badly placed, changes of threads.
    shuttle::check_pct(model, SCHEDULES, 3);
}

struct Job {
    share: Share,
    done: Slot<Share>,
}

/// Reads frames of these sizes, as the splitter does.
fn split(
    frames: &[usize],
    budget: &Budget,
    jobs: &Sender<Job>,
    order: Producer<Share>,
    control: &Control,
) -> Result<(), Stopped> {
    let memory = budget.begin(control)?;
    for size in frames.iter().copied() {
        let share = match memory.try_take(size) {
            Some(share) => share,
            None if size <= RESERVE => memory.take(size, control)?,
            None => {
                for _ in 0..size.div_ceil(BLOCK) {
                    order.send(memory.take(BLOCK, control)?)?;
                }
                continue;
            }
        };
        jobs.send(Job { share, done: order.begin()? })?;
    }
    order.finish();
    Ok(())
}

fn spawn(control: &Control, work: impl FnOnce() -> Result<(), Stopped> + Send + 'static) -> Thread {
    let control = control.clone();
    thread::spawn(move || {
        let done = work();
        if done.is_err() {
            control.stop();
        }
        done
    })
}

type Thread = JoinHandle<Result<(), Stopped>>;

/// Starts to unpack an archive with frames of these sizes.
fn unpack(frames: &'static [usize], budget: &Budget, control: &Control) -> Thread {
    let (budget, control) = (budget.clone(), control.child());
    spawn(&control.clone(), move || {
        let (jobs, queued) = queue::<Job>(&control, 1);
        let (order, ordered) = ordered(&control, 2);
        let (written, writing) = queue::<Share>(&control, 2 * BATCH);
        let mut threads = vec![
            spawn(&control, {
                let queued = queued.clone();
                move || decompress(&queued)
            }),
            spawn(&control, {
                let writing = writing.clone();
                move || write(&writing)
            }),
        ];
        let (splitter, reading) = (control.clone(), budget.clone());
        threads.push(spawn(&control, move || split(frames, &reading, &jobs, order, &splitter)));
        drop((queued, writing));
        let consume = || {
            loop {
                let block = match ordered.try_next()? {
                    Next::Ready(block) => block,
                    Next::Finished => break,
                    Next::Pending => {
                        written.announce();
                        match ordered.next()? {
                            Some(block) => block,
                            None => break,
                        }
                    }
                };
                written.send_in_batches(block, BATCH)?;
            }
            written.settle()
        };
        let consumed = consume();
        if consumed.is_err() {
            control.stop();
        }
        drop((written, ordered));
        threads.into_iter().for_each(|thread| _ = thread.join());
        consumed
    })
}

fn decompress(jobs: &Receiver<Job>) -> Result<(), Stopped> {
    while let Some(Job { share, done }) = jobs.recv()? {
        done.fill(share);
    }
    Ok(())
}

fn write(files: &Receiver<Share>) -> Result<(), Stopped> {
    loop {
        let batch = files.recv_many(BATCH)?;
        if batch.is_empty() {
            return Ok(());
        }
        for share in batch {
            drop(share);
            files.finish(1);
        }
    }
}

/// Starts to pack an archive of this many frames.
fn pack(frames: usize, budget: &Budget, control: &Control) -> Thread {
    let (budget, control) = (budget.clone(), control.child());
    spawn(&control.clone(), move || {
        let memory = budget.begin(&control)?;
        let (jobs, queued) = queue::<Job>(&control, 1);
        let (order, ordered) = ordered(&control, 2);
        let worker = spawn(&control, move || decompress(&queued));
        let delivery = spawn(&control, move || {
            while let Some(share) = ordered.next()? {
                drop(share);
            }
            Ok(())
        });
        let produce = || {
            for _ in 0..frames {
                let share = memory.take(RESERVE, &control)?;
                jobs.send(Job { share, done: order.begin()? })?;
            }
            Ok(())
        };
        let produced = produce();
        match produced {
            Ok(()) => order.finish(),
            Err(Stopped) => _ = control.stop(),
        }
        drop(jobs);
        let delivered = delivery.join().unwrap_or(Err(Stopped));
        _ = worker.join();
        produced.and(delivered)
    })
}

/// All memory has come back.
fn is_whole(budget: &Budget, bytes: usize) {
    let memory = budget.begin(&Control::new()).expect("there is room for one archive");
    let kept = 3.min(bytes / RESERVE);
    assert!(memory.try_take(bytes - (kept - 1) * RESERVE).is_some());
}

#[test]
fn archives_that_are_unpacked_at_once_end() {
    for bytes in [RESERVE, 2 * RESERVE, 2 * RESERVE + BLOCK] {
        check(move || {
            let budget = Budget::with_threads(bytes, 1);
            let control = Control::new();
            let first = unpack(&[RESERVE, BLOCK, RESERVE, BLOCK, BLOCK], &budget, &control);
            let second = unpack(&[BLOCK, 3 * RESERVE, BLOCK], &budget, &control);
            assert_eq!(first.join().expect("it ends"), Ok(()));
            assert_eq!(second.join().expect("it ends"), Ok(()));
            is_whole(&budget, bytes);
        });
    }
}

#[test]
fn an_archive_that_is_packed_beside_others_ends() {
    for bytes in [RESERVE, 3 * RESERVE + BLOCK] {
        check(move || {
            let budget = Budget::with_threads(bytes, 1);
            let control = Control::new();
            let threads = [
                pack(3, &budget, &control),
                unpack(&[RESERVE, BLOCK, RESERVE], &budget, &control),
                pack(2, &budget, &control),
            ];
            for thread in threads {
                assert_eq!(thread.join().expect("it ends"), Ok(()));
            }
            is_whole(&budget, bytes);
        });
    }
}

#[test]
fn a_stop_at_any_moment_ends_everything() {
    check(|| {
        let budget = Budget::with_threads(RESERVE, 1);
        let control = Control::new();
        let first = unpack(&[RESERVE, BLOCK, BLOCK], &budget, &control);
        let second = pack(2, &budget, &control);
        let stopper = thread::spawn({
            let control = control.clone();
            move || control.stop()
        });
        for thread in [first, second] {
            _ = thread.join().expect("it ends");
        }
        assert!(stopper.join().expect("it ends"));
        is_whole(&budget, RESERVE);
    });
}

#[test]
fn an_archive_that_stands_still_does_not_stop_another() {
    check(|| {
        let bytes = 3 * RESERVE;
        let budget = Budget::with_threads(bytes, 1);
        let control = Control::new();
        let still = budget.begin(&control).expect("there is room");
        let held: Vec<_> = std::iter::from_fn(|| still.try_take(BLOCK)).collect();
        let other = unpack(&[RESERVE, BLOCK, 2 * RESERVE], &budget, &control);
        assert_eq!(other.join().expect("it ends"), Ok(()));
        drop((held, still));
        is_whole(&budget, bytes);
    });
}

#[test]
fn a_result_that_is_lost_ends_the_wait_for_it() {
    check(|| {
        let control = Control::new();
        let (order, ordered) = ordered::<u8>(&control, 2);
        let (first, second) = (order.begin().expect("room"), order.begin().expect("room"));
        let lost = thread::spawn(move || drop(first));
        let filled = thread::spawn(move || second.fill(2));
        assert_eq!(ordered.next(), Err(Stopped));
        lost.join().expect("it ends");
        filled.join().expect("it ends");
        drop(order);
        assert_eq!(ordered.next(), Err(Stopped));
    });
}
