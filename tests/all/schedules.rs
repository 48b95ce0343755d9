//! Random schedules: how many are played, and what is said of one that fails.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

/// How many schedules a test plays.
pub struct Schedules {
    pub cases: u32,
    /// The same in a long run.
    pub cases_long: u32,
    /// How often at most one that fails is tried with something left out.
    pub shrinks_max: u32,
}

/// Whether this run may take long.
pub fn is_long_run() -> bool {
    std::env::var_os("PVDECK_LONG").is_some()
}

impl Schedules {
    /// Plays schedules; of the first that fails, what is wrong and the schedule.
    pub fn play<S: Strategy>(
        self,
        drawn_from: &S,
        check: impl Fn(&S::Value) -> Result<(), String>,
    ) -> Result<(), String>
    where
        S::Value: Debug,
    {
        let config = Config {
            cases: if is_long_run() { self.cases_long } else { self.cases },
            max_shrink_iters: self.shrinks_max,
            failure_persistence: None,
            ..Config::default()
        };
        let test = |acts| check(&acts).map_err(TestCaseError::fail);
        TestRunner::new(config).run(drawn_from, test).map_err(|error| match error {
            TestError::Fail(why, acts) => format!("{why}\n{acts:#?}"),
            TestError::Abort(why) => why.to_string(),
        })
    }
}
