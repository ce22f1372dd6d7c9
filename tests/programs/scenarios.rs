//! Programs as users write them, those that use processes and shared memory: their output and its order.
//!
//! The code that prints runs as a program of its own ([`prints`](crate::util::prints)), whose lines the test then
//! checks.

use crate::util::{is_running, name_of, prints, until, until_killed, within};
use crossproc::{
    Array, Atomic, Error, GetTimeoutError, JoinError, Pipe, Process, Queue, Result, ScopeError, SpawnError, Value,
    current, scope,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::os::unix::process::parent_id;
use std::process::id;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::{Duration, Instant};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// All numbers of a line, such as process numbers.
fn numbers(line: &str) -> Vec<u32> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// For lines whose order is free.
fn sorted(lines: &[String]) -> Vec<&str> {
    let mut lines: Vec<_> = lines.iter().map(String::as_str).collect();
    lines.sort_unstable();
    lines
}

/// The lines that begin with this, in their order.
fn with<'a>(start: &str, lines: &'a [String]) -> Vec<&'a str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with(start)).collect()
}

/// The global list of SE09 and SE19.
static RESULT: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn global() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RESULT.lock().expect("nobody panicked with it")
}

#[test]
fn se01_without_join_the_order_is_free_and_with_join_the_parent_is_last() {
    fn child(wait: Duration, gate: Atomic<u32>) {
        sleep(wait);
        until("the gate is open", || gate.load(SeqCst) == 1);
        println!("子进程 {} of {}", id(), parent_id());
    }
    within(60, || {
        let sleeps = prints("the parent sleeps", || {
            println!("父进程 {}", id());
            Process::spawn(child, (ms(0), Atomic::new(1)?))?;
            sleep(ms(100));
            println!("运行结束");
            Ok(())
        });
        let hurries = prints("the parent is done before the child", || {
            println!("父进程 {}", id());
            let gate = Atomic::new(0)?;
            Process::spawn(child, (ms(0), gate.clone()))?;
            println!("运行结束");
            gate.store(1, SeqCst);
            Ok(())
        });
        let joins = prints("the parent joins", || {
            println!("父进程 {}", id());
            Process::spawn(child, (ms(20), Atomic::new(1)?))?.join()?;
            println!("运行结束");
            Ok(())
        });
        for lines in [&sleeps, &hurries, &joins] {
            assert_eq!((lines.len(), with("运行结束", lines).len()), (3, 1), "{lines:?}");
            let (parent, child) = (numbers(&lines[0]), numbers(with("子进程", lines)[0]));
            assert!(child[1] == parent[0] && child[0] != parent[0], "{lines:?}");
        }
        assert_eq!(hurries[1], "运行结束");
        assert_eq!(joins[2], "运行结束");
    });
}

#[test]
fn se09_a_global_list_is_not_shared() {
    fn square_list(list: Vec<u32>) {
        global().extend(list.iter().map(|n| n * n));
        println!("Result(in process p1): {:?}", global());
    }
    within(60, || {
        let lines = prints("", || {
            Process::spawn(square_list, (vec![1, 2, 3, 4],))?.join()?;
            println!("Result(in main program): {:?}", global());
            Ok(())
        });
        assert_eq!(lines, ["Result(in process p1): [1, 4, 9, 16]", "Result(in main program): []"]);
    });
}

#[test]
fn se10_an_array_and_a_value_are_shared() {
    fn square_list(list: Vec<i32>, result: Array<i32>, sum: Value<i32>) -> Result<()> {
        for (i, n) in list.into_iter().enumerate() {
            result.set(i, n * n)?;
        }
        sum.set(result.lock()?.iter().sum())?;
        tell("process p1", &result, &sum)
    }
    fn tell(who: &str, result: &Array<i32>, sum: &Value<i32>) -> Result<()> {
        println!("Result(in {who}): {:?}", result.to_vec()?);
        println!("Sum of squares(in {who}): {}", sum.get());
        Ok(())
    }
    within(60, || {
        let lines = prints("", || {
            println!("A value starts at {}", Value::new(10)?.get());
            let (result, sum) = (Array::<i32>::zeroed(4)?, Value::<i32>::new(0)?);
            Process::spawn(square_list, (vec![1, 2, 3, 4], result.clone(), sum.clone()))?.join()??;
            tell("main program", &result, &sum)
        });
        let expected = [
            "A value starts at 10",
            "Result(in process p1): [1, 4, 9, 16]",
            "Sum of squares(in process p1): 30",
            "Result(in main program): [1, 4, 9, 16]",
            "Sum of squares(in main program): 30",
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
fn se12_a_queue_from_one_child_to_the_other() {
    fn square_list(numbers: Vec<u64>, queue: Queue<u64>) -> Result<()> {
        numbers.into_iter().try_for_each(|n| queue.put(n * n)).map_err(Error::from)
    }
    fn print_queue(queue: Queue<u64>) -> Result<()> {
        println!("Queue elements:");
        while !queue.is_empty() {
            println!("{}", queue.get()?);
        }
        println!("Queue is now empty!");
        Ok(())
    }
    within(60, || {
        let lines = prints("a queue", || {
            let queue = Queue::new()?;
            Process::spawn(square_list, (vec![1, 2, 3, 4], queue.clone()))?.join()??;
            Process::spawn(print_queue, (queue,))?.join()?
        });
        assert_eq!(lines, ["Queue elements:", "1", "4", "9", "16", "Queue is now empty!"]);
    });
}

#[test]
fn se13_a_pipe_until_the_word_end() {
    fn sender(pipe: Pipe<String>, messages: Vec<String>) -> Result<()> {
        for message in messages {
            pipe.send(&message)?;
            println!("Sent the message: {message}");
        }
        Ok(())
    }
    fn receiver(pipe: Pipe<String>) -> Result<()> {
        loop {
            let message = pipe.recv()?;
            if message == "END" {
                return Ok(());
            }
            println!("Received the message: {message}");
        }
    }
    within(60, || {
        let lines = prints("a pipe", || {
            let (parent_end, child_end) = Pipe::pair()?;
            let messages = ["hello", "hey", "hru?", "END"].map(String::from).to_vec();
            let p1 = Process::spawn(sender, (parent_end, messages))?;
            let p2 = Process::spawn(receiver, (child_end,))?;
            p1.join()??;
            p2.join()?
        });
        let after =
            |start: &str| with(start, &lines).iter().map(|line| line[start.len()..].to_owned()).collect::<Vec<_>>();
        assert_eq!(after("Sent the message: "), ["hello", "hey", "hru?", "END"]);
        assert_eq!(after("Received the message: "), ["hello", "hey", "hru?"]);
        assert_eq!(lines.len(), 7);
    });
}

#[test]
fn se14_five_children_run_side_by_side_and_are_joined_after_the_loop() {
    within(60, || {
        let lines = prints("", || {
            let mut children = Vec::new();
            for i in 0..5 {
                println!("process start");
                children.push(Process::spawn(
                    |i: String| println!("Child process {i} {} Running", id()),
                    (i.to_string(),),
                )?);
            }
            children.into_iter().try_for_each(Process::join)?;
            println!("Process close");
            Ok(())
        });
        assert_eq!(with("process start", &lines).len(), 5);
        let told: Vec<_> = with("Child process", &lines).into_iter().map(numbers).collect();
        assert_eq!(told.iter().map(|told| told[0]).collect::<BTreeSet<_>>(), (0..5).collect());
        assert_eq!(told.iter().map(|told| told[1]).collect::<BTreeSet<_>>().len(), 5, "process numbers: {told:?}");
        assert_eq!((lines.len(), lines[10].as_str()), (11, "Process close"));
    });
}

#[test]
fn se15_a_join_inside_the_loop_makes_it_serial() {
    fn worker(i: u32) {
        println!("{} starting", current().name());
        println!("worker {i}");
    }
    within(60, || {
        let lines = prints("", || {
            for i in 0..5 {
                Process::spawn(worker, (i,))?.join()?;
                println!("Process end.");
            }
            Ok(())
        });
        let expected = (0..5)
            .flat_map(|i| [format!("Process-{} starting", i + 1), format!("worker {i}"), "Process end.".to_string()]);
        assert_eq!(lines, expected.collect::<Vec<_>>());
    });
}

#[test]
fn se19_ten_children_append_to_a_list_each_of_its_own() {
    fn task(i: u32) {
        global().push(i);
        println!("{:?}", global());
    }
    within(60, || {
        let lines = prints("", || {
            let children = (0..10).map(|i| Process::spawn(task, (i,))).collect::<Result<Vec<_>, _>>()?;
            children.into_iter().try_for_each(Process::join)?;
            println!("{:?}", global());
            Ok(())
        });
        assert_eq!(lines.last().map(String::as_str), Some("[]"));
        let expected: Vec<_> = (0..10).map(|i| format!("[{i}]")).collect();
        assert_eq!(sorted(&lines[..10]), expected);
        assert_eq!(lines.len(), 11);
    });
}

#[test]
fn se20_a_child_negates_a_shared_array() {
    fn negate(numbers: Array<i32>) -> Result<()> {
        numbers.lock()?.iter_mut().for_each(|n| *n = -*n);
        Ok(())
    }
    within(60, || {
        let lines = prints("", || {
            let numbers = Array::from_iter(0..10)?;
            Process::spawn(negate, (numbers.clone(),))?.join()??;
            println!("{:?}", numbers.to_vec()?);
            Ok(())
        });
        assert_eq!(lines, ["[0, -1, -2, -3, -4, -5, -6, -7, -8, -9]"]);
    });
}

#[test]
fn se23_a_join_gives_up_at_its_timeout_and_a_terminated_child_has_minus_15() -> Result<()> {
    fn child(started: Atomic<u32>) {
        started.store(1, SeqCst);
        until_killed()
    }
    within(60, || {
        let started = Atomic::new(0)?;
        let mut child = Process::spawn(child, (started.clone(),))?;
        until("the child runs", || started.load(SeqCst) == 1);
        let start = Instant::now();
        assert_eq!(child.join_timeout(ms(50)), Ok(None));
        assert!((ms(50)..ms(5000)).contains(&start.elapsed()), "{:?}", start.elapsed());
        assert_eq!((child.is_alive(), child.exit_code()), (true, None));
        child.terminate()?;
        assert_eq!(child.wait(), -15);
        assert_eq!((child.is_alive(), child.exit_code()), (false, Some(-15)));
        child.terminate()?; // a second time, as in Python, is nothing
        assert_eq!(child.join(), Err(JoinError::Signaled(15)));
        Ok(())
    })
}

#[test]
fn se24_a_childs_parent_is_who_started_it() {
    within(60, || {
        let lines = prints("", || {
            println!("parent {}", id());
            let child = || {
                sleep(ms(100));
                println!("child {} of {}", id(), parent_id());
                assert_eq!(crossproc::parent().map(|parent| parent.id()), Some(parent_id()));
            };
            let child = Process::spawn(child, ())?;
            sleep(ms(200));
            Ok(child.join()?)
        });
        let (parent, child) = (numbers(&lines[0]), numbers(&lines[1]));
        assert!(child[1] == parent[0] && child[0] != parent[0], "{lines:?}");
        assert_eq!(lines.len(), 2);
    });
}

/// In Python a subclass of `Process`.
#[derive(Clone, Serialize, Deserialize)]
struct MyProcess {
    count: u32,
}

impl MyProcess {
    fn run(self) -> u32 {
        println!("run {} in {}", self.count, id());
        self.count + 1
    }
}

#[test]
fn se25_start_runs_the_body_in_the_child_and_a_direct_call_in_the_parent() {
    within(60, || {
        let lines = prints("", || {
            println!("parent {}", id());
            let process = MyProcess { count: 3 };
            let child = Process::spawn(MyProcess::run, (process.clone(),))?;
            println!("child {}", child.id());
            assert_eq!(child.join()?, 4);
            assert_eq!(process.run(), 4);
            Ok(())
        });
        let (parent, child) = (numbers(&lines[0])[0], numbers(with("child", &lines)[0])[0]);
        assert_ne!(parent, child);
        assert_eq!(with("run", &lines), [format!("run 3 in {child}"), format!("run 3 in {parent}")]);
        assert_eq!(lines.len(), 4);
    });
}

#[test]
fn se26_three_children_from_a_loop_and_three_lines_of_the_parent() {
    fn child(i: u32) -> u32 {
        println!("run {i} in {}", id());
        i + 1
    }
    /// Starts and joins, and speaks meanwhile.
    fn parent(start: impl Fn(u32) -> Result<Process<u32>, SpawnError>) -> Result<()> {
        let mut children = Vec::new();
        for i in 0..3 {
            children.push(start(i)?);
            println!("parent {i} of {}", id());
        }
        for (child, i) in children.into_iter().zip(1..) {
            assert_eq!(child.join()?, i);
        }
        Ok(())
    }
    within(60, || {
        let function = prints("function", || parent(|i| Process::spawn(child, (i,))));
        let subclass = prints("subclass", || parent(|i| Process::spawn(MyProcess::run, (MyProcess { count: i },))));
        for lines in [function, subclass] {
            let told = |start| with(start, &lines).into_iter().map(numbers).collect::<BTreeSet<_>>();
            let (children, parents) = (told("run"), told("parent"));
            assert_eq!(children.iter().map(|told| told[0]).collect::<Vec<_>>(), [0, 1, 2]);
            assert_eq!(parents.iter().map(|told| told[0]).collect::<Vec<_>>(), [0, 1, 2]);
            let processes: BTreeSet<_> = children.iter().chain(&parents).map(|told| told[1]).collect();
            assert_eq!((lines.len(), processes.len()), (6, 4), "three children and one parent: {lines:?}");
        }
    });
}

#[test]
fn se27_the_lines_after_a_join_come_after_those_of_the_child() {
    fn child() {
        for _ in 0..10 {
            println!("儿子在这里");
            sleep(ms(2));
        }
    }
    within(60, || {
        let lines = prints("", || {
            Process::spawn(child, ())?.join()?;
            (0..5).for_each(|_| println!("爸爸在这里"));
            Ok(())
        });
        assert_eq!(lines, [["儿子在这里"; 10].as_slice(), ["爸爸在这里"; 5].as_slice()].concat());
    });
}

#[test]
fn se28_a_child_has_the_name_that_it_was_given() -> Result<()> {
    within(60, || {
        // There is no handle before the start, so there is always a process number.
        let child = || (current().name().to_string(), current().id(), current().is_daemon(), name_of(id()));
        let child = Process::builder().name("liangxue").spawn(child, ())?;
        assert_eq!((child.name(), child.is_daemon()), ("liangxue", false));
        let pid = child.id();
        assert_ne!(pid, id());
        let itself = child.join()?;
        assert_eq!(itself, ("liangxue".to_string(), pid, false, "liangxue".to_string()), "as it sees itself");
        Ok(())
    })
}

#[test]
fn se29_a_daemon_ends_with_its_parent() {
    fn daemon(wait: Duration, started: Atomic<u32>, said: Atomic<u32>) {
        started.store(1, SeqCst);
        sleep(wait);
        println!("the daemon");
        said.store(1, SeqCst);
    }
    /// Prints the daemon's number.
    fn start(wait: Duration, started: &Atomic<u32>, said: &Atomic<u32>) -> Result<()> {
        let daemon = Process::builder().daemon(true).spawn(daemon, (wait, started.clone(), said.clone()))?;
        println!("the parent of {}", daemon.id());
        Ok(())
    }
    const LATER: Duration = Duration::from_secs(50); // than the limit of this test
    within(40, || {
        let stays = prints("the parent sleeps", || {
            let (started, said) = (Atomic::new(0)?, Atomic::new(0)?);
            start(ms(10), &started, &said)?;
            sleep(ms(50));
            until("the daemon has spoken", || said.load(SeqCst) == 1); // on a loaded machine
            println!("the parent ends");
            Ok(())
        });
        let leaves = prints("the parent ends at once", || start(LATER, &Atomic::new(0)?, &Atomic::new(0)?));
        let leaves_later = prints("the parent ends when the daemon sleeps", || {
            let started = Atomic::new(0)?;
            start(LATER, &started, &Atomic::new(0)?)?;
            until("the daemon runs", || started.load(SeqCst) == 1);
            Ok(())
        });
        assert_eq!(stays[1..], ["the daemon", "the parent ends"]);
        for lines in [stays, leaves, leaves_later] {
            assert!(lines.len() == 3 || lines.len() == 1, "{lines:?}");
            assert!(!is_running(numbers(&lines[0])[0]), "the daemon is gone");
        }
    });
}

#[test]
fn se30_a_daemon_may_have_no_children() -> Result<()> {
    const TEXT: &str = "daemonic processes are not allowed to have children";
    fn start_one(runs: Atomic<u32>) -> Result<()> {
        Ok(Process::spawn(|runs: Atomic<u32>| runs.store(1, SeqCst), (runs,))?.join()?)
    }
    fn scope_one(runs: Atomic<u32>) -> Result<()> {
        Ok(scope(|s| drop(s.spawn(|runs: Atomic<u32>| runs.store(1, SeqCst), (runs,))))?)
    }
    within(60, || {
        let runs = Atomic::new(0)?;
        let daemon = |f: fn(Atomic<u32>) -> Result<()>| Process::builder().daemon(true).spawn(f, (runs.clone(),));
        let error = daemon(start_one)?.join()?.unwrap_err();
        assert_eq!((&error, error.to_string().as_str()), (&Error::Spawn(SpawnError::DaemonChild), TEXT));
        let error = daemon(scope_one)?.join()?.unwrap_err();
        assert_eq!(error, Error::Scope(ScopeError::Spawn(SpawnError::DaemonChild)));
        assert_eq!(runs.load(SeqCst), 0, "no child has run");
        Process::spawn(start_one, (runs.clone(),))?.join()??;
        assert_eq!(runs.load(SeqCst), 1, "who is no daemon may");
        Ok(())
    })
}

#[test]
fn se31_a_choice_after_all_children_in_a_list_were_joined() {
    const PLACES: [&str; 4] = ["河南的", "山东", "辽宁的", "湖南的"];
    within(60, || {
        let lines = prints("", || {
            let child = |place: String, wait: Duration| {
                sleep(wait);
                println!("{place}");
            };
            // The last one is the first to speak.
            let start = |(place, wait): (&str, u64)| Process::spawn(child, (place.to_string(), ms(wait)));
            let children = PLACES.into_iter().zip([30, 20, 10, 0]).map(start).collect::<Result<Vec<_>, _>>()?;
            children.into_iter().try_for_each(Process::join)?;
            println!("我选{}", PLACES[1]);
            Ok(())
        });
        let (choice, places) = lines.split_last().expect("lines");
        assert_eq!(choice, "我选山东");
        let mut expected = PLACES;
        expected.sort_unstable();
        assert_eq!(sorted(places), expected);
    });
}

#[test]
fn se34_a_downloader_and_a_saver_that_gives_up() {
    fn download(queue: Queue<String>) -> Result<()> {
        for name in ["girl.jpg", "boy.jpg", "man.jpg"] {
            println!("正在下载 {name}");
            sleep(ms(50));
            queue.put(name.into())?;
        }
        Ok(())
    }
    fn save(queue: Queue<String>) -> Result<()> {
        loop {
            match queue.get_timeout(ms(500)) {
                Ok(name) => println!("保存成功 {name}"),
                Err(GetTimeoutError::Timeout) => break,
                Err(error) => return Err(error.into()),
            }
        }
        println!("全部保存完毕!");
        Ok(())
    }
    within(60, || {
        let lines = prints("downloads", || {
            let queue = Queue::bounded(5)?;
            Process::spawn(download, (queue.clone(),))?.join()??;
            Process::spawn(save, (queue.clone(),))?.join()??;
            println!("over!");
            Ok(())
        });
        let names = ["girl.jpg", "boy.jpg", "man.jpg"];
        let wanted = |what: &str| names.map(|name| format!("{what} {name}"));
        assert_eq!(with("正在下载", &lines), wanted("正在下载"));
        assert_eq!(with("保存成功", &lines), wanted("保存成功"));
        assert_eq!(lines[6..], ["全部保存完毕!", "over!"]);
    });
}
