//! Times as people read them: ages as `kubectl` prints them.

use jiff::{SignedDuration, Timestamp};

use crate::model::object::Seconds;

/// The age of something as `kubectl get` shows it: at most two units, the
/// coarser the older.
pub fn age(since: Seconds, now: Seconds) -> String {
    let seconds = (now - since).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |whole: i64, unit: char, rest: i64, small: char| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{small}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

/// In seconds, how long the age shown stays as it is: the next moment at which
/// the screen has to change.
pub fn age_changes_in(since: Seconds, now: Seconds) -> i64 {
    let seconds = (now - since).max(0);
    let step = match seconds {
        0..600 => 1,
        600..28_800 => 60,
        28_800..691_200 => 3600,
        _ => 86_400,
    };
    step - seconds % step
}

/// How long something took, or takes: tenths of seconds up to ten, hundredths up
/// to one, above that as an age.
pub fn duration(took: SignedDuration) -> String {
    let seconds = took.as_secs_f64().max(0.0);
    match seconds {
        0.0..1.0 => format!("{seconds:.2}s"),
        1.0..10.0 => format!("{seconds:.1}s"),
        _ => age(0, took.as_secs()),
    }
}

/// From one moment to another.
pub fn between(began: Timestamp, ended: Timestamp) -> String {
    duration(ended.duration_since(began))
}

/// `09:41:07` in UTC: the clock of the cluster, not of the reader's chair.
pub fn clock_time(at: Seconds) -> String {
    let of_day = at.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (252, "4m12s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
        ] {
            assert_eq!(age(0, seconds), text, "{seconds}");
        }
    }

    #[test]
    fn short_times_have_fractions_and_none_is_negative() {
        for (millis, text) in
            [(-5, "0.00s"), (20, "0.02s"), (1_840, "1.8s"), (41_900, "41s"), (252_000, "4m12s")]
        {
            assert_eq!(duration(SignedDuration::from_millis(millis)), text);
        }
    }

    #[test]
    fn age_stays_as_long_as_it_is_said_to() {
        for seconds in (0..200_000).step_by(37) {
            let stays = age_changes_in(0, seconds);
            assert_eq!(age(0, seconds), age(0, seconds + stays - 1), "{seconds}");
        }
    }
}
