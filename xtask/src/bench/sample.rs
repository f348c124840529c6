//! Durations, what is said of them, and contenders that are measured in turns.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Durations in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// A sample of durations.
    pub(crate) fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        Self(durations.into_iter().map(micros).collect())
    }

    /// Adds a duration.
    pub(crate) fn push(&mut self, duration: Duration) {
        self.0.push(micros(duration));
    }

    /// The value below which so many of a thousand lie; 0 of an empty sample.
    pub(crate) fn quantile(&self, per_mille: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last * per_mille + 500) / 1_000).copied().unwrap_or_default()
    }

    /// The middle.
    pub(crate) fn p50(&self) -> f64 {
        self.quantile(500)
    }

    /// The largest.
    pub(crate) fn max(&self) -> f64 {
        self.quantile(1_000)
    }

    /// The median of the last tenth over that of the first, in the order of measuring.
    pub(crate) fn growth(&self) -> f64 {
        let tenth = (self.0.len() / 10).max(1).min(self.0.len());
        let (first, last) = (&self.0[..tenth], &self.0[self.0.len() - tenth..]);
        median(last.iter().copied()) / median(first.iter().copied())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A count as a figure.
pub(crate) fn figure(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The middle of some values; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Sample(values.into_iter().collect()).p50()
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// As people wait for it.
    pub(crate) wall: Duration,
    /// Of a processor, which other work on the machine changes little; zero where nobody asked.
    pub(crate) processor: Duration,
}

impl From<Duration> for Took {
    fn from(wall: Duration) -> Self {
        Self { wall, processor: Duration::ZERO }
    }
}

/// Something that is measured: each call answers how long it took.
pub(crate) struct Contender<'a> {
    name: &'static str,
    once: Box<dyn FnMut() -> Result<Took> + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender by what it does once.
    pub(crate) fn new<T: Into<Took>>(
        name: &'static str,
        mut once: impl FnMut() -> Result<T> + 'a,
    ) -> Self {
        Self { name, once: Box::new(move || once().map(Into::into)) }
    }
}

/// How often contenders are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Every figure is the median over so many repetitions.
    pub(crate) repetitions: usize,
    /// In each repetition everybody has so many turns.
    pub(crate) rounds: usize,
}

/// What was measured of one contender: a sample for each repetition.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    name: &'static str,
    wall: Vec<Sample>,
    processor: Vec<Sample>,
}

impl Series {
    fn new(name: &'static str) -> Self {
        Self { name, wall: Vec::new(), processor: Vec::new() }
    }

    /// The median of the repetitions' medians.
    pub(crate) fn p50(&self) -> f64 {
        median(self.wall.iter().map(Sample::p50))
    }

    /// The shortest of all.
    pub(crate) fn best(&self) -> f64 {
        self.wall.iter().map(|sample| sample.quantile(0)).fold(f64::INFINITY, f64::min)
    }

    /// The processor's time instead of that on the wall.
    pub(crate) fn processor(&self) -> Self {
        Self { wall: self.processor.clone(), ..self.clone() }
    }

    /// For the file.
    pub(crate) fn json(&self) -> Value {
        json!({
            "of": self.name,
            "p50_us": self.p50(),
            "min_us": self.best(),
            "processor_p50_us": self.processor().p50(),
        })
    }
}

/// Measures contenders in turns, so that what else the machine does meets all of them alike. Who
/// begins a round changes from round to round; the first round warms up and does not count.
pub(crate) fn interleave<const N: usize>(
    plan: Plan,
    mut contenders: [Contender<'_>; N],
) -> Result<[Series; N]> {
    let mut series = contenders.each_ref().map(|one| Series::new(one.name));
    for contender in &mut contenders {
        (contender.once)().with_context(|| contender.name)?;
    }
    for _ in 0..plan.repetitions {
        let mut samples = [const { (Sample(Vec::new()), Sample(Vec::new())) }; N];
        for round in 0..plan.rounds {
            for turn in 0..N {
                let index = (turn + round) % N;
                let contender = &mut contenders[index];
                let took = (contender.once)().with_context(|| contender.name)?;
                samples[index].0.push(took.wall);
                samples[index].1.push(took.processor);
            }
        }
        for (series, (wall, processor)) in series.iter_mut().zip(samples) {
            series.wall.push(wall);
            series.processor.push(processor);
        }
    }
    Ok(series)
}

/// A figure made of several series: computed from the medians of each repetition, then the median
/// over the repetitions.
pub(crate) fn combine<const N: usize>(of: [&Series; N], figure: impl Fn([f64; N]) -> f64) -> f64 {
    let repetitions = of.iter().map(|one| one.wall.len()).min().unwrap_or_default();
    median((0..repetitions).map(|index| figure(of.map(|one| one.wall[index].p50()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let sample = Sample::of((1..=101).map(Duration::from_micros));
        assert!((sample.p50() - 51.0).abs() < 1e-6);
        assert!((sample.quantile(990) - 100.0).abs() < 1e-6);
        assert!((sample.max() - 101.0).abs() < 1e-6);
        assert!(Sample::default().p50().abs() < 1e-6);
    }

    #[test]
    fn everybody_has_as_many_turns_and_the_first_round_does_not_count() {
        let plan = Plan { repetitions: 3, rounds: 4 };
        let mut calls = 0;
        let slow = Contender::new("slow", || {
            calls += 1;
            Ok(Duration::from_micros(if calls == 1 { 900 } else { 20 }))
        });
        let fast = Contender::new("fast", || Ok(Duration::from_micros(10)));
        let [slow, fast] = interleave(plan, [slow, fast]).unwrap();
        assert_eq!(slow.wall.iter().map(Sample::len).collect::<Vec<_>>(), [4, 4, 4]);
        assert!((combine([&slow, &fast], |[slow, fast]| slow / fast) - 2.0).abs() < 1e-6);
        assert_eq!(calls, 13);
    }
}
