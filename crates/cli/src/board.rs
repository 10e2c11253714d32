//! Shows a task while it runs: bars on a terminal, lines elsewhere.
//!
//! Invariant: bars are drawn on standard error only; where there are none, nothing but
//! whole lines is written.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use quarterdeck_client::Frame;

use crate::failure::Failure;
use crate::output;
use crate::tracker::{Line, Mood, Tracker};

/// Bars at a time; the other running steps are counted only.
const BARS: usize = 16;
/// Redrawing, per bar.
const TICK: Duration = Duration::from_millis(100);

/// Where lines go when there are no bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// They are the data that was asked for.
    Stdout,
    /// They are talk.
    Stderr,
}

/// A board for one task.
pub struct Board {
    /// What is known of the task.
    pub tracker: Tracker,
    bars: Option<Bars>,
    lines: Lines,
    colour: bool,
}

struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    steps: BTreeMap<String, ProgressBar>,
}

impl Board {
    /// Bars where a person looks at a terminal, lines otherwise.
    pub fn new(lines: Lines) -> Self {
        let person =
            std::io::stderr().is_terminal() && (lines == Lines::Stderr || std::io::stdout().is_terminal());
        Self { tracker: Tracker::default(), bars: person.then(Bars::new), lines, colour: output::colour() }
    }

    /// Shows one frame.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), Failure> {
        for line in self.tracker.frame(frame) {
            self.line(&line)?;
        }
        if let Some(bars) = &mut self.bars {
            bars.update(&self.tracker);
        }
        Ok(())
    }

    /// Takes the bars away.
    pub fn close(&mut self) {
        if let Some(bars) = self.bars.take() {
            bars.steps.values().for_each(ProgressBar::finish_and_clear);
            bars.total.finish_and_clear();
        }
    }

    fn line(&self, line: &Line) -> Result<(), Failure> {
        let width = self.tracker.steps.iter().map(|step| step.key.len()).max().unwrap_or(0).clamp(4, 32);
        let step = if line.step.is_empty() { "task" } else { &line.step };
        let text = format!("{:12}  {step:width$}  {}", line.time, line.words);
        match (&self.bars, self.lines) {
            (Some(bars), _) => {
                // Progress moves the bar; a line each would drown the rest.
                if line.words.contains('%') && line.mood == Mood::Plain {
                    return Ok(());
                }
                let _ = bars.all.println(paint(&text, line.mood, self.colour));
                Ok(())
            }
            (None, Lines::Stdout) => output::emit(&text),
            (None, Lines::Stderr) => {
                output::say(&text);
                Ok(())
            }
        }
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::new(0));
        total.set_style(style("{bar:30.green/black} {pos} of {len} steps done {wide_msg}"));
        total.enable_steady_tick(TICK);
        Self { all, total, steps: BTreeMap::new() }
    }

    fn update(&mut self, tracker: &Tracker) {
        let running: Vec<_> = tracker.steps.iter().filter(|step| step.running).collect();
        self.total.set_length(tracker.steps.len() as u64);
        self.total.set_position(tracker.done() as u64);
        let hidden = running.len().saturating_sub(BARS);
        self.total.set_message(if hidden > 0 { format!("({hidden} more running)") } else { String::new() });
        self.steps.retain(|key, bar| {
            let keep = running.iter().take(BARS).any(|step| step.key == *key);
            if !keep {
                bar.finish_and_clear();
            }
            keep
        });
        for step in running.into_iter().take(BARS) {
            let bar = self.steps.entry(step.key.clone()).or_insert_with(|| {
                let bar = self.all.insert_before(&self.total, ProgressBar::new(100));
                bar.set_style(style("  {spinner} {prefix:20} {bar:20.cyan/black} {percent:>3}% {wide_msg}"));
                bar.set_prefix(step.key.clone());
                bar.enable_steady_tick(TICK);
                bar
            });
            bar.set_position((step.fraction.clamp(0.0, 1.0) * 100.0) as u64);
            let attempt =
                if step.attempt > 1 { format!(", attempt {}", step.attempt) } else { String::new() };
            bar.set_message(format!("{}{attempt} {}", step.agent, step.message));
        }
    }
}

/// A template is checked by a test; a wrong one falls back to the default bar.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn paint(text: &str, mood: Mood, colour: bool) -> String {
    let code = match mood {
        Mood::Plain => return text.to_owned(),
        Mood::Good => "32",
        Mood::Warn => "33",
        Mood::Bad => "31",
    };
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_well_formed() {
        for template in [
            "{bar:30.green/black} {pos} of {len} steps done {wide_msg}",
            "  {spinner} {prefix:20} {bar:20.cyan/black} {percent:>3}% {wide_msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn colours_are_left_out_where_nobody_wants_them() {
        assert_eq!(paint("x", Mood::Bad, false), "x");
        assert_eq!(paint("x", Mood::Bad, true), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(paint("x", Mood::Plain, true), "x");
    }
}
