//! Runs a case: its subjects in turns, round by round, so that what the machine does meanwhile meets them all.

mod backlog;
mod error;
mod long;
mod measure;
mod sample;
mod stages;
mod steady;
mod subject;
mod sweep;
mod target;

pub use error::DriveError;
pub use long::{GROWN, NEW};
pub use sample::{Sample, Timeline};
pub use subject::Subject;

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cases::{Case, Kind};
use crate::limits;
use stages::Stages;

/// Runs cases.
pub struct Driver {
    /// Where the data of all stages lies: on the storage that is to be measured.
    pub base: PathBuf,
    progress: ProgressBar,
}

impl Driver {
    /// One that shows what it does on a terminal.
    pub fn new(base: PathBuf) -> Self {
        let progress = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            progress.set_style(style);
        }
        Self { base, progress }
    }

    /// Shows a line that replaces the one before.
    pub fn say(&self, line: String) {
        self.progress.set_message(line);
        self.progress.tick();
    }

    /// Shows a line that stays.
    pub fn note(&self, line: &str) {
        if self.progress.is_hidden() {
            eprintln!("{line}");
        } else {
            self.progress.println(line);
        }
    }

    /// Runs one case.
    ///
    /// # Errors
    /// [`DriveError`] where something broke. A wrong outcome is no error but a sample without figures.
    pub async fn run(&self, name: &str, case: &Case) -> Result<Vec<Sample>, DriveError> {
        let subjects: Vec<Subject> = case.subjects.iter().filter_map(|name| Subject::named(name)).collect();
        let mut stages = Stages::new(self, case);
        let mut samples = Vec::new();
        for round in 1..=case.rounds {
            for subject in there_and_back(round, &subjects) {
                self.say(format!("{name}  round {round}/{}  {}: getting ready", case.rounds, subject.name()));
                let turn = Turn { driver: self, name, case, subject, round };
                match turn.run(&mut stages).await {
                    Ok(turn_samples) => samples.extend(turn_samples),
                    Err(error) if error.is_unavailable() && subject == Subject::Engine => {
                        let mut sample = Sample::new(name, subject.name(), round);
                        sample.unavailable = Some(error.to_string());
                        self.note(&format!("{name}: not available: {error}"));
                        samples.push(sample);
                        return Ok(samples);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if case.load.syscalls && subjects.contains(&Subject::Engine) {
            let turn = Turn { driver: self, name, case, subject: Subject::Engine, round: case.rounds + 1 };
            samples.extend(steady::count_syscalls(&turn, stages.engine().await?).await?);
        }
        stages.stop().await;
        Ok(samples)
    }
}

/// All of them in the order of this round: whoever comes behind another one has what that one left to be done.
fn there_and_back<T: Copy>(round: u32, all: &[T]) -> Vec<T> {
    let mut turns = all.to_vec();
    if round.is_multiple_of(2) {
        turns.reverse();
    }
    turns
}

/// One subject's turn in one round of a case.
pub(crate) struct Turn<'a> {
    pub driver: &'a Driver,
    pub name: &'a str,
    pub case: &'a Case,
    pub subject: Subject,
    pub round: u32,
}

impl Turn<'_> {
    fn sample(&self) -> Sample {
        Sample::new(self.name, self.subject.name(), self.round)
    }

    /// SKUs in each sale.
    fn skus(&self) -> usize {
        if self.subject == Subject::OneSku { 1 } else { self.case.sale.skus }
    }

    async fn run(&self, stages: &mut Stages<'_>) -> Result<Vec<Sample>, DriveError> {
        let seconds = self.case.load.seconds;
        let one = match self.subject {
            Subject::Engine | Subject::OneSku => return self.engine(stages).await,
            Subject::Peer(kind) => steady::peer(self, stages.peer(kind).await?).await?,
            Subject::Bare => steady::bare(self, stages.bare().await?).await?,
            Subject::Copy => limits::copy(stages.copy_stage().await?, self.sample(), seconds).await?,
            Subject::BatchScript => {
                limits::batch_script(stages.script_stage().await?, self.sample(), seconds).await?
            }
            Subject::RedisBenchmark => {
                limits::redis_benchmark(stages.script_stage().await?, self.sample(), seconds).await?
            }
            Subject::Fdatasync => limits::fdatasync(&self.driver.base, self.sample(), seconds)?,
        };
        Ok(vec![one])
    }

    async fn engine(&self, stages: &mut Stages<'_>) -> Result<Vec<Sample>, DriveError> {
        let engine = stages.engine().await?;
        Ok(match self.case.kind {
            Kind::Steady | Kind::Burst => vec![steady::engine(self, engine).await?],
            Kind::Backlog => vec![backlog::run(self, engine).await?],
            Kind::Sweep => sweep::run(self, engine).await?,
            Kind::Long => long::run(self, engine).await?,
        })
    }
}
