//! Jobs: processes that share the scenarios. Each is this program, executed anew, so that no job has memory of another.

use std::fmt::{self, Display};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The sums of a run; its text is the last line of the output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    pub scenarios: usize,
    pub points: usize,
    pub violations: usize,
    pub seconds: f64,
    /// A job ended without its sums.
    pub is_cut_off: bool,
}

impl Total {
    pub fn is_clean(&self) -> bool {
        self.violations == 0 && !self.is_cut_off
    }

    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(", ").map(|part| part.split_once(' '));
        let mut next = |unit: &str| numbers.next()?.filter(|(_, rest)| *rest == unit)?.0.parse().ok();
        let (scenarios, points, violations) = (next("scenarios")?, next("points")?, next("violations")?);
        Some(Total { scenarios, points, violations, ..Self::default() })
    }
}

impl Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Total { scenarios, points, violations, seconds, is_cut_off } = self;
        if *is_cut_off {
            writeln!(f, "a job ended before its last scenario")?;
        }
        write!(f, "{scenarios} scenarios, {points} points, {violations} violations, {seconds:.1} s")
    }
}

/// The number of jobs for so many scenarios.
pub fn number(scenarios: usize) -> usize {
    let processors = || thread::available_parallelism().map_or(1, usize::from);
    super::common::number("KILL_JOBS").map_or_else(processors, |jobs| jobs as usize).min(scenarios)
}

/// Reads `JOB/NUMBER`.
pub fn parse(text: &str) -> Option<(usize, usize)> {
    let (job, number) = text.split_once('/')?;
    let (job, number) = (job.parse().ok()?, number.parse().ok()?);
    (job < number).then_some((job, number))
}

/// Runs so many jobs and prints what they print.
pub fn run(number: usize) -> Total {
    let begun = Instant::now();
    let jobs: Vec<_> = (0..number).map(|job| start(job, number)).collect();
    let mut sum = Total::default();
    for (mut child, output) in jobs {
        let total = output.join().expect("a reader of lines does not panic");
        let status = child.wait().expect("a child of ours");
        let Some(total) = total.filter(|total| status.success() == total.is_clean()) else {
            sum.is_cut_off = true;
            continue;
        };
        sum.scenarios += total.scenarios;
        sum.points += total.points;
        sum.violations += total.violations;
    }
    Total { seconds: begun.elapsed().as_secs_f64(), ..sum }
}

/// Starts a job. The thread prints its lines but the last, which it returns.
fn start(job: usize, number: usize) -> (Child, JoinHandle<Option<Total>>) {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(std::env::args_os().skip(1)).args(["--job", &format!("{job}/{number}")]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("this program can be executed again");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let print = move || {
        let mut last = None;
        for line in lines.map_while(Result::ok) {
            if let Some(line) = last.replace(line) {
                println!("{line}");
            }
        }
        last.as_deref().and_then(Total::parse)
    };
    (child, thread::spawn(print))
}
