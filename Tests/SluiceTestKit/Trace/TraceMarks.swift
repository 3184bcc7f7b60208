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

    /// A consumer hears a mark; those after it hear the same.
    mutating func hear(_ bytes: [UInt8], _ offset: UInt64) {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let place = markers.firstIndex(where: { $0 == (text, offset) }) else { return }
        markers.remove(at: place)
        heard.append("* info \(text)")
    }

    /// Ends a step and returns what it showed.
    ///
    /// A topic keeps marks until somebody is there to hear them; GenStage's producer is.
    mutating func takeLines() -> [String] {
        let groups = topic.groups.compactMap { $0?.firstWaiting }
        let first = groups.min() ?? topic.log.head - topic.buffered
        while consumers.isEmpty, let marker = markers.first, marker.offset <= first {
            hear(Array(marker.text.utf8), marker.offset)
        }
        defer {
            lines = []
            heard = []
        }
        return lines + heard
    }
}
