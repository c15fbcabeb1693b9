//! What about the topic may lose history.

use super::{MESSAGE_BYTES_MAX, topic::Topic};
use refold_domain::log::Risk;
use std::collections::BTreeMap;

/// All that is known of the topic.
pub(super) struct Found<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Where the cluster is.
    pub(super) place: &'a str,
    pub(super) topic: &'a Topic,
    /// How many partitions the log has.
    pub(super) partitions: usize,
    pub(super) settings: &'a BTreeMap<String, String>,
    /// The first offset of each partition.
    pub(super) begins: &'a [u64],
}

/// What must be set for a log that keeps everything.
const KEEPS: [(&str, &[&str]); 3] =
    [("cleanup.policy", &["delete", ""]), ("retention.ms", &["-1"]), ("retention.bytes", &["-1"])];

impl Found<'_> {
    /// All that may lose history.
    pub(super) fn risks(&self) -> Vec<Risk> {
        let mut risks = Vec::new();
        risks.extend(KEEPS.iter().filter_map(|(key, allowed)| self.retention(key, allowed)));
        risks.extend((0..).zip(self.begins).filter_map(|(partition, begin)| self.deleted(partition, *begin)));
        risks.extend(self.partitions());
        risks.extend(self.size());
        risks.extend(self.copies());
        risks.extend(self.unclean());
        risks
    }

    fn retention(&self, key: &str, allowed: &[&str]) -> Option<Risk> {
        let value = self.settings.get(key).map_or("not known", String::as_str);
        let danger =
            if key == "cleanup.policy" { "records are thrown away" } else { "old records are deleted" };
        let found = format!("{key} of the topic {} is {value}: {danger}", self.name);
        let wanted = allowed[0];
        (!allowed.contains(&value)).then(|| Risk { fatal: true, found, remedy: self.change(key, wanted) })
    }

    fn deleted(&self, partition: u32, begin: u64) -> Option<Risk> {
        let found = format!(
            "partition {partition} of the topic {} begins at offset {begin}: what stood before it was deleted",
            self.name
        );
        let remedy = "restore the log from a backup, and take away whatever deletes its records".into();
        (begin > 0).then_some(Risk { fatal: true, found, remedy })
    }

    /// A topic can be given more of them while it is in use.
    fn partitions(&self) -> Option<Risk> {
        let (found, wanted) = (self.topic.partitions, self.partitions);
        let text = format!("the topic {} has {found} partitions, not {wanted}", self.name);
        let remedy =
            "copy the log into a topic with its own number of partitions, and name that with log.name".into();
        (found != wanted).then_some(Risk { fatal: true, found: text, remedy })
    }

    fn size(&self) -> Option<Risk> {
        let bytes: usize = self.settings.get("max.message.bytes")?.parse().ok()?;
        let found = format!(
            "max.message.bytes of the topic {} is {bytes}: large commits are refused, which may have {MESSAGE_BYTES_MAX}",
            self.name
        );
        let remedy = self.change("max.message.bytes", &MESSAGE_BYTES_MAX.to_string());
        (bytes < MESSAGE_BYTES_MAX).then_some(Risk { fatal: true, found, remedy })
    }

    fn copies(&self) -> Option<Risk> {
        let (name, replicas) = (self.name, self.topic.replicas);
        let in_sync: usize = self.settings.get("min.insync.replicas")?.parse().ok()?;
        let flushes = self.settings.get("flush.messages").is_some_and(|count| count == "1");
        let (fatal, found, remedy) = match (replicas, in_sync) {
            (replicas, in_sync) if in_sync > replicas => (
                true,
                format!(
                    "min.insync.replicas of the topic {name} is {in_sync}, but it has {replicas} replicas: no commit can be \
                     confirmed"
                ),
                self.change("min.insync.replicas", &replicas.saturating_sub(1).max(1).to_string()),
            ),
            (1, _) => (
                false,
                format!("the topic {name} has one replica{}", what_one_replica_loses(flushes)),
                "give each partition 3 replicas (kafka-reassign-partitions.sh), then set min.insync.replicas to 2".into(),
            ),
            (replicas, 1) => (
                false,
                format!(
                    "min.insync.replicas of the topic {name} is 1: a commit is confirmed while {} of its {replicas} replicas \
                     are away, and lost with the disk or the power of the one that is left",
                    replicas - 1
                ),
                self.change("min.insync.replicas", "2"),
            ),
            _ => return None,
        };
        Some(Risk { fatal, found, remedy })
    }

    fn unclean(&self) -> Option<Risk> {
        let key = "unclean.leader.election.enable";
        let found = format!(
            "{key} of the topic {} is true: a replica that lags behind may take over, and what it lacks is lost although it was \
             confirmed",
            self.name
        );
        let is_on = self.topic.replicas > 1 && self.settings.get(key).is_some_and(|value| value == "true");
        is_on.then(|| Risk { fatal: false, found, remedy: self.change(key, "false") })
    }

    fn change(&self, key: &str, value: &str) -> String {
        format!(
            "run: kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} --add-config {key}={value}",
            self.place, self.name
        )
    }
}

fn what_one_replica_loses(flushes: bool) -> &'static str {
    if flushes {
        ": the log is lost with its disk"
    } else {
        ", and its broker confirms before it has written to the disk: a power failure loses what was confirmed last, and the log \
         is lost with that disk"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risks(replicas: usize, changes: &[(&str, &str)], begins: &[u64]) -> Vec<Risk> {
        let sound = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", "2000000"),
            ("min.insync.replicas", "2"),
        ];
        let settings =
            sound.iter().chain(changes).map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let topic = Topic { partitions: 2, replicas, is_served: true };
        let place = "127.0.0.1:9092";
        Found { name: "log", place, topic: &topic, partitions: 2, settings: &settings, begins }.risks()
    }

    fn only(replicas: usize, changes: &[(&str, &str)]) -> Risk {
        let risks = risks(replicas, changes, &[0, 0]);
        assert_eq!(risks.len(), 1, "{risks:?}");
        risks.into_iter().next().unwrap()
    }

    #[test]
    fn nothing_is_said_of_a_sound_topic() {
        assert_eq!(risks(3, &[], &[0, 0]), []);
        assert_eq!(risks(3, &[("cleanup.policy", "")], &[0, 0]), []);
    }

    #[test]
    fn whatever_deletes_is_fatal_and_the_command_mends_it() {
        for (key, value, wanted) in [
            ("cleanup.policy", "compact,delete", "cleanup.policy=delete"),
            ("retention.ms", "604800000", "retention.ms=-1"),
            ("retention.bytes", "1073741824", "retention.bytes=-1"),
            ("max.message.bytes", "1000", "max.message.bytes="),
        ] {
            let risk = only(3, &[(key, value)]);
            assert!(risk.fatal && risk.found.contains(value), "{risk:?}");
            assert!(risk.remedy.contains("--entity-name log") && risk.remedy.contains(wanted), "{risk:?}");
        }
    }

    #[test]
    fn what_was_deleted_is_fatal() {
        let risks = risks(3, &[], &[0, 7]);
        assert!(
            risks[0].fatal && risks[0].found.contains("partition 1") && risks[0].found.contains('7'),
            "{risks:?}"
        );
    }

    #[test]
    fn few_copies_are_warned_of() {
        let one = only(1, &[("min.insync.replicas", "1")]);
        assert!(!one.fatal && one.found.contains("power failure"), "{one:?}");
        let flushed = only(1, &[("min.insync.replicas", "1"), ("flush.messages", "1")]);
        assert!(!flushed.fatal && !flushed.found.contains("power failure"), "{flushed:?}");
        let two = only(3, &[("min.insync.replicas", "1")]);
        assert!(!two.fatal && two.found.contains("2 of its 3"), "{two:?}");
        let unclean = only(3, &[("unclean.leader.election.enable", "true")]);
        assert!(!unclean.fatal && unclean.found.contains("lags behind"), "{unclean:?}");
    }

    #[test]
    fn a_topic_that_can_confirm_nothing_is_fatal() {
        assert!(only(1, &[]).fatal);
    }
}
