// Marks of a trace: said by the producer, heard once by GenStage's, which says them to itself.

import SluiceCore

extension TraceTopic {
    mutating func mark(_ text: String) {
        if backlog.isEmpty { say(text) } else { backlog.append(Pending(marker: text)) }
        handleDemand(settle())
    }

    /// Says a word behind what the topic has.
    mutating func say(_ text: String) {
        markers.append((text, topic.log.head))
        topic.apply(.mark(producer, .marker(Array(text.utf8))), at: now, into: &effects)
    }

    /// Ends a step and returns what it showed.
    ///
    /// A topic keeps marks until somebody is there to hear them; GenStage's producer is. Members
    /// with partitions of their own hear them at their own pace, GenStage's when all have passed.
    mutating func takeLines() -> [String] {
        while markers.count > topic.waitingMarks { hear(markers.removeFirst().text) }
        let groups = topic.groups.compactMap { $0?.firstWaiting }
        let first = groups.min() ?? topic.log.head - topic.buffered
        while consumers.isEmpty, let marker = markers.first, marker.offset <= first {
            markers.removeFirst()
            hear(marker.text)
        }
        defer {
            lines = []
            heard = []
        }
        return lines + heard
    }

    private mutating func hear(_ text: String) { heard.append("* info \(text)") }
}
