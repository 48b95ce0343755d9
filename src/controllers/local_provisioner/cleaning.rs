//! How a block device is cleaned: the commands behind a class's
//! `blockCleanerCommand`.
//!
//! Upstream runs scripts of its image (`deployment/docker/scripts`). A node has
//! no such image, so the scripts are named here by what they run; any other
//! command is run as it stands, and finds the device in its environment.

/// Where the scripts are in the image of the real one.
const SCRIPTS: &str = "/scripts/";

/// What a cleaner runs on a device of so many bytes, one command after the
/// other; an error if its arguments make no sense.
pub fn commands(cleaner: &[String], device: &str, bytes: u64) -> Result<Vec<Vec<String>>, String> {
    let (program, arguments) = cleaner.split_first().map_or(("", cleaner), |(p, a)| (p, a));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match program.strip_prefix(SCRIPTS) {
        Some("quick_reset.sh") => {
            Ok(vec![words(&["mkfs", "-F", device]), words(&["wipefs", "-a", device])])
        }
        Some("dd_zero.sh") => {
            let (from, to) = ("if=/dev/zero", format!("of={device}"));
            // With the size, it ends without an error at the end of the device.
            let count = format!("count={bytes}");
            let zero = ["dd", from, &to, "bs=1M", &count, "iflag=count_bytes", "conv=fsync"];
            Ok(vec![words(&zero); times(arguments, 1)?])
        }
        Some("shred.sh") => {
            let times = times(arguments, 3)?.to_string();
            Ok(vec![words(&["shred", "-vzf", "-n", &times, device])])
        }
        Some("blkdiscard.sh") => Ok(vec![words(&["blkdiscard", device])]),
        _ => {
            let mut argv = words(&["env", &format!("LOCAL_PV_BLKDEVICE={device}")]);
            argv.extend(cleaner.iter().cloned());
            Ok(vec![argv])
        }
    }
}

/// The number of rounds that a script is given.
fn times(arguments: &[String], unless_given: usize) -> Result<usize, String> {
    let Some(first) = arguments.first() else { return Ok(unless_given) };
    let times = first.parse().ok().filter(|times| (1..=100).contains(times));
    times.ok_or_else(|| format!("`{first}` is no number of rounds from 1 to 100"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(cleaner: &str) -> Result<Vec<String>, String> {
        let words: Vec<String> = cleaner.split(' ').map(str::to_owned).collect();
        let commands = commands(&words, "/dev/sdb", 4096)?;
        Ok(commands.iter().map(|argv| argv.join(" ")).collect())
    }

    #[test]
    fn each_cleaner_runs_what_its_script_runs() {
        let zero = "dd if=/dev/zero of=/dev/sdb bs=1M count=4096 iflag=count_bytes conv=fsync";
        for (cleaner, expected) in [
            ("/scripts/quick_reset.sh", vec!["mkfs -F /dev/sdb", "wipefs -a /dev/sdb"]),
            ("/scripts/dd_zero.sh", vec![zero]),
            ("/scripts/dd_zero.sh 2", vec![zero, zero]),
            ("/scripts/shred.sh", vec!["shred -vzf -n 3 /dev/sdb"]),
            ("/scripts/shred.sh 1", vec!["shred -vzf -n 1 /dev/sdb"]),
            ("/scripts/blkdiscard.sh", vec!["blkdiscard /dev/sdb"]),
            ("/opt/own fast", vec!["env LOCAL_PV_BLKDEVICE=/dev/sdb /opt/own fast"]),
        ] {
            assert_eq!(lines(cleaner).expect(cleaner), expected, "{cleaner}");
        }
    }

    #[test]
    fn a_number_of_rounds_that_makes_no_sense_is_refused() {
        for cleaner in ["/scripts/shred.sh many", "/scripts/dd_zero.sh 0", "/scripts/shred.sh 101"]
        {
            let error = lines(cleaner).expect_err(cleaner);
            assert!(error.ends_with("is no number of rounds from 1 to 100"), "{error}");
        }
    }
}
