/// A frame in words, as a line of a conversation says it.
package struct Sentence: Hashable, Sendable {
    /// An event by what a conversation says of it; nil is "any".
    package struct Event: Hashable, Sendable {
        package var sequence: UInt64
        package var offset: UInt64?
        package var payload: String?

        package init(sequence: UInt64, offset: UInt64?, payload: String?) {
            self.sequence = sequence
            self.offset = offset
            self.payload = payload
        }
    }

    /// A sequence and what became of it.
    package struct Verdict: Hashable, Sendable {
        package var sequence: UInt64
        package var outcome: String

        package init(sequence: UInt64, outcome: String) {
            self.sequence = sequence
            self.outcome = outcome
        }
    }

    package var type: String
    package var link: UInt32 = 0
    package var flags: Set<String> = []
    /// `sink`, `source` and `resume` of an OPEN.
    package var words: Set<String> = []
    package var fields: [String: String] = [:]
    package var options: [(tag: UInt8, bytes: [UInt8])] { optionTexts.compactMap(Self.option) }
    package var events: [Event] = []
    package var verdicts: [Verdict] = []
    /// The body of a FRAME.
    package var body: [UInt8] = []
    private var optionTexts: [String] = []

    package init(type: String, link: UInt32) {
        self.type = type
        self.link = link
    }

    package init?(parsing text: some StringProtocol) {
        var words = Self.tokens(text)
        guard !words.isEmpty else { return nil }
        type = words.removeFirst()
        if !["HELLO", "WELCOME", "PING", "FRAME"].contains(type) {
            guard !words.isEmpty, let link = UInt32(words.removeFirst()) else { return nil }
            self.link = link
        }
        switch type {
        case "PING":
            guard !words.isEmpty else { return nil }
            fields["opaque"] = words.removeFirst()
        case "CLOSE":
            guard !words.isEmpty else { return nil }
            fields["code"] = words.removeFirst()
        case "SETTLE":
            guard takeVerdicts(words) else { return nil }
            return
        default: break
        }
        for word in words where !take(word) { return nil }
        number()
    }

    /// Words are separated by spaces; brackets hold together.
    private static func tokens(_ text: some StringProtocol) -> [String] {
        var words: [String] = []
        var word = ""
        var isBracketed = false
        for character in text {
            if character == "[" { isBracketed = true }
            if character == "]" { isBracketed = false }
            if character == " ", !isBracketed {
                if !word.isEmpty { words.append(word) }
                word = ""
            } else {
                word.append(character)
            }
        }
        if !word.isEmpty { words.append(word) }
        return words
    }

    private static let flagNames: Set<String> = [
        "RESUMED", "PONG", "DRAIN", "STOP", "ECHO", "GAP", "END", "MARKER",
        "DRAINED", "GRACEFUL", "IGNORABLE",
    ]

    private mutating func take(_ word: String) -> Bool {
        if word.hasPrefix("["), word.hasSuffix("]") {
            let offset = fields.removeValue(forKey: "offset").flatMap { UInt64($0) }
            for (index, payload) in word.dropFirst().dropLast().split(separator: " ").enumerated() {
                events.append(
                    Event(
                        sequence: 0,
                        offset: offset.map { $0 + UInt64(index) },
                        payload: payload == "*" ? nil : String(payload)
                    )
                )
            }
            return true
        }
        if Self.flagNames.contains(word) {
            flags.insert(word)
        } else if ["sink", "source", "resume"].contains(word) {
            words.insert(word)
        } else if type == "FRAME", let byte = UInt8(word, radix: 16) {
            body.append(byte)
        } else {
            guard let equals = word.firstIndex(of: "=") else { return false }
            let name = String(word[..<equals])
            let value = String(word[word.index(after: equals)...])
            if name == "option" { optionTexts.append(value) } else { fields[name] = value }
        }
        return true
    }

    /// Gives the events the sequences that follow from the first one's.
    private mutating func number() {
        guard !events.isEmpty, let first = self["seq"] else { return }
        for index in events.indices { events[index].sequence = first + UInt64(index) }
    }

    private mutating func takeVerdicts(_ words: [String]) -> Bool {
        var rest = words[...]
        while let outcome = rest.popFirst() {
            guard let range = rest.popFirst()?.split(separator: "."), range.count == 2,
                let from = UInt64(range[0]), let to = UInt64(range[1]), from <= to
            else { return false }
            var text = outcome
            if outcome == "reject" {
                guard let code = rest.popFirst() else { return false }
                text += " " + code
            }
            verdicts += (from...to).map { Verdict(sequence: $0, outcome: text) }
        }
        return true
    }

    private static func option(_ text: String) -> (tag: UInt8, bytes: [UInt8])? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let tag = UInt8(parts[0].dropFirst(2), radix: 16) else {
            return nil
        }
        let digits = Array(parts[1])
        let pairs = stride(from: 0, to: digits.count - 1, by: 2).map { String(digits[$0...$0 + 1]) }
        return (tag, pairs.compactMap { UInt8($0, radix: 16) })
    }

    /// A field that is a number; `0x` is understood.
    package subscript(name: String) -> UInt64? {
        guard let text = fields[name] else { return nil }
        return text.hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    }
}
