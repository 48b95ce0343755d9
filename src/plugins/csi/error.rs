//! How a call to a driver failed, and whether it may have had its effect.

use tonic::{Code, Status};

use crate::plugins::csi::driver::faults::CODES;
use crate::plugins::error::PluginError;

/// A failed call. Printed as gRPC's Go library prints it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rpc error: code = {} desc = {message}", code_name(*code))]
pub struct CallError {
    pub code: Code,
    pub message: String,
}

impl CallError {
    /// The deadline has passed.
    pub fn timed_out() -> Self {
        Self { code: Code::DeadlineExceeded, message: "context deadline exceeded".to_owned() }
    }

    /// Whether the call may have had, or may still have, an effect (upstream:
    /// the opposite of `IsFinalError`).
    pub fn leaves_doubt(&self) -> bool {
        match self.code {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted => true,
            Code::Ok
            | Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => false,
        }
    }

    /// Whether the driver says that it can never work as asked (upstream:
    /// `IsInfeasibleError` of external-resizer and kubelet).
    pub fn is_infeasible(&self) -> bool {
        matches!(self.code, Code::InvalidArgument | Code::OutOfRange | Code::NotFound)
    }
}

/// A code's name in Go.
pub fn code_name(code: Code) -> &'static str {
    CODES.iter().find(|(_, known)| *known == code).map_or("Unknown", |(name, _)| name)
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let mut message = status.message().to_owned();
        let mut cause = std::error::Error::source(&status);
        // A connection that did not come about says why only in its causes.
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        // A driver that is not there counts as unavailable, not as one that
        // gave a strange answer.
        let lost = status.code() == Code::Unknown && std::error::Error::source(&status).is_some();
        Self { code: if lost { Code::Unavailable } else { status.code() }, message }
    }
}

impl From<CallError> for PluginError {
    fn from(error: CallError) -> Self {
        if error.leaves_doubt() {
            Self::Uncertain(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_codes_leave_doubt_and_all_others_are_final() {
        let doubtful =
            ["Canceled", "DeadlineExceeded", "ResourceExhausted", "Aborted", "Unavailable"];
        for (name, code) in CODES {
            let error = CallError { code, message: "x".to_owned() };
            assert_eq!(error.leaves_doubt(), doubtful.contains(&name), "{name}");
            assert_eq!(error.to_string(), format!("rpc error: code = {name} desc = x"));
        }
    }
}
