//! How far a long command is: a bar where somebody looks on, and a line in the log now and then where nobody does.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{task::JoinHandle, time::interval};

/// How often the bar is drawn anew.
const DRAWN_EVERY: Duration = Duration::from_millis(100);
/// How often a line is logged where there is no terminal.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// The bar that is shown, so that log lines go past it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// How things stand.
#[derive(Debug)]
pub(super) struct Standing {
    /// How much is done, and of how much, where that is known.
    pub(super) done: Option<(u64, u64)>,
    /// What to say of it.
    pub(super) text: String,
}

/// A command's progress; shown until this is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    showing: JoinHandle<()>,
}

impl Progress {
    /// Begins to show how things stand, on the runtime that this is called on.
    pub(super) fn start(standing: impl Fn() -> Standing + Send + 'static) -> Self {
        let bar = io::stderr().is_terminal().then(bar);
        (*shown()).clone_from(&bar);
        let showing = tokio::spawn(async move {
            let mut ticks = interval(if bar.is_some() { DRAWN_EVERY } else { LOGGED_EVERY });
            // The first is at once: nothing is done yet.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                if let Some(bar) = &bar {
                    draw(bar, standing());
                } else {
                    tracing::info!("{}", in_words(&standing()));
                }
            }
        });
        Self { showing }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.showing.abort();
        let bar = shown().take();
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

fn shown() -> std::sync::MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style(WITHOUT_END));
    bar
}

fn style(template: &str) -> ProgressStyle {
    // A template that is wrong shows in the tests below, and here as the crate's own.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The style while the end is not known.
const WITHOUT_END: &str = "{spinner} {elapsed} {wide_msg}";
/// The style of a bar whose end is.
const WITH_END: &str = "[{bar:20}] {pos}/{len} {eta} left; {wide_msg}";

fn draw(bar: &ProgressBar, Standing { done, text }: Standing) {
    if let Some((done, of)) = done {
        if bar.length() != Some(of) {
            bar.set_style(style(WITH_END));
            bar.set_length(of);
        }
        bar.set_position(done);
    }
    bar.set_message(text);
    bar.tick();
}

fn in_words(Standing { done, text }: &Standing) -> String {
    match done {
        Some((done, of)) => format!("{done} of {of}: {text}"),
        None => text.clone(),
    }
}

/// Where log lines are written: standard error, past the bar.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bar = shown().clone();
        match bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_right() {
        ProgressStyle::with_template(WITH_END).unwrap();
        ProgressStyle::with_template(WITHOUT_END).unwrap();
    }

    #[test]
    fn a_line_says_what_a_bar_shows() {
        let standing = |done| Standing { done, text: "files".to_owned() };
        assert_eq!(in_words(&standing(Some((3, 10)))), "3 of 10: files");
        assert_eq!(in_words(&standing(None)), "files");
    }
}
