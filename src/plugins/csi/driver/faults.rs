//! Faults on request: slow, failing, silent or dying, before or after a call
//! has had its effect.
//!
//! Written `<RPC or *>=<what>[:<argument>][,times=<n>][,after=<n>]`:
//! `CreateVolume=delay:50ms`, `NodeStageVolume=fail:Unavailable,times=2`,
//! `DeleteVolume=crash-after,after=1`.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::Code;

/// What a fault does to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The call begins later.
    Delay(Duration),
    /// The call fails without effect.
    Fail(Code),
    /// The call has its effect and fails all the same.
    FailAfter(Code),
    /// The call never begins and never ends.
    Hang,
    /// The call has its effect and is never answered.
    HangAfter,
    /// The driver dies before the call has any effect.
    CrashBefore,
    /// The driver dies after the effect, before the reply.
    CrashAfter,
}

/// A fault and when it strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The call, such as `CreateVolume`; `*`: any.
    pub rpc: String,
    pub effect: Effect,
    /// How many calls it strikes; `None`: all.
    pub times: Option<u32>,
    /// How many calls it lets pass before.
    pub after: u32,
}

/// A fault that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no fault: {why}; write for example CreateVolume=fail:Unavailable,times=2 \
     or *=delay:50ms"
)]
pub struct BadFault {
    text: String,
    why: String,
}

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let bad = |why: String| BadFault { text: text.to_owned(), why };
        let (rpc, rest) = text.split_once('=').ok_or_else(|| bad("no `=`".into()))?;
        let mut parts = rest.split(',');
        let effect = effect(parts.next().unwrap_or_default()).map_err(&bad)?;
        let (mut times, mut after) = (None, 0);
        for part in parts {
            let number = |text: &str| text.parse::<u32>().map_err(|error| bad(error.to_string()));
            match part.split_once('=') {
                Some(("times", count)) => times = Some(number(count)?),
                Some(("after", count)) => after = number(count)?,
                _ => return Err(bad(format!("`{part}` is neither times=n nor after=n"))),
            }
        }
        Ok(Self { rpc: rpc.to_owned(), effect, times, after })
    }
}

fn effect(text: &str) -> Result<Effect, String> {
    let (what, argument) = text.split_once(':').unwrap_or((text, ""));
    Ok(match what {
        "delay" => Effect::Delay(duration(argument)?),
        "fail" => Effect::Fail(code(argument)?),
        "fail-after" => Effect::FailAfter(code(argument)?),
        "hang" => Effect::Hang,
        "hang-after" => Effect::HangAfter,
        "crash-before" => Effect::CrashBefore,
        "crash-after" => Effect::CrashAfter,
        other => return Err(format!("`{other}` is not an effect")),
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse::<u64>().map_err(|error| error.to_string());
    match text.strip_suffix("ms") {
        Some(digits) => number(digits).map(Duration::from_millis),
        None => number(text.strip_suffix('s').unwrap_or(text)).map(Duration::from_secs),
    }
}

/// The codes of gRPC by their names, in order of their numbers.
pub const CODES: [(&str, Code); 17] = [
    ("OK", Code::Ok),
    ("Canceled", Code::Cancelled),
    ("Unknown", Code::Unknown),
    ("InvalidArgument", Code::InvalidArgument),
    ("DeadlineExceeded", Code::DeadlineExceeded),
    ("NotFound", Code::NotFound),
    ("AlreadyExists", Code::AlreadyExists),
    ("PermissionDenied", Code::PermissionDenied),
    ("ResourceExhausted", Code::ResourceExhausted),
    ("FailedPrecondition", Code::FailedPrecondition),
    ("Aborted", Code::Aborted),
    ("OutOfRange", Code::OutOfRange),
    ("Unimplemented", Code::Unimplemented),
    ("Internal", Code::Internal),
    ("Unavailable", Code::Unavailable),
    ("DataLoss", Code::DataLoss),
    ("Unauthenticated", Code::Unauthenticated),
];

fn code(name: &str) -> Result<Code, String> {
    let found = CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, code)| *code).ok_or_else(|| format!("`{name}` is no gRPC code"))
}

/// The faults in force. Changed while the driver runs.
#[derive(Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(Mutex::new(faults))
    }

    /// Puts others in place of those in force.
    pub fn set(&self, faults: Vec<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Adds one to those in force.
    pub fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// The fault that strikes a call now: the first that is for it.
    pub fn take(&self, rpc: &str) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = faults.iter().position(|fault| fault.rpc == rpc || fault.rpc == "*")?;
        let fault = &mut faults[at];
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        let struck = fault.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                faults.remove(at);
            }
        }
        Some(struck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        let fault: Fault = "CreateVolume=fail:unavailable,times=2,after=1".parse().expect("read");
        assert_eq!((fault.effect, fault.times, fault.after), {
            (Effect::Fail(Code::Unavailable), Some(2), 1)
        });
        let slow: Fault = "*=delay:50ms".parse().expect("read");
        assert_eq!(slow.effect, Effect::Delay(Duration::from_millis(50)));
        for bad in ["CreateVolume", "X=sleep", "X=fail:Perhaps", "X=hang,often", "X=delay:soon"] {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_strikes_after_some_calls_and_so_often() {
        let fault = "DeleteVolume=crash-after,times=1,after=1".parse().expect("read");
        let faults = Faults::new(vec![fault]);
        let struck: Vec<bool> = (0..3).map(|_| faults.take("DeleteVolume").is_some()).collect();
        assert_eq!(struck, [false, true, false]);
        assert!(faults.take("CreateVolume").is_none());
    }
}
