import SluiceCore
import SluiceWire

/// The options of groups and members as a conversation writes them: `NAME=VALUE`.
extension Open {
    struct Text {
        let name: String
        let value: String

        var word: String { "\(name)=\(value)" }
    }

    private static let names: Set<String> = [
        "dispatcher", "weight", "priority", "lag", "partitions", "claim", "filter", "sample",
        "batch", "rate", "ephemeral", "patience",
    ]

    static func isOption(_ name: String) -> Bool { names.contains(name) }

    /// Those that are there, in the order of their tags.
    var texts: [Text] {
        let batch = member.batch.map { "\($0.eventsMax):\($0.waitMilliseconds)ms" }
        let rate = member.rate.map { "\($0.eventsPerSecond):\($0.burst)" }
        let values: [(String, String?)] = [
            ("dispatcher", wish.dispatcher.map { "\($0)" }),
            ("weight", member.weight.map { "\($0)" }),
            ("priority", member.priority > 0 ? "\(member.priority)" : nil),
            ("lag", wish.lag.map { "\($0)" }),
            ("partitions", wish.partitions.map { "\($0)" }),
            ("claim", member.claims?.map { "\($0)" }.joined(separator: ",")),
            ("filter", member.filter.map { "[\($0.condition)]" }),
            ("sample", member.sampleOneIn > 1 ? "\(member.sampleOneIn)" : nil),
            ("batch", batch),
            ("rate", rate),
            ("ephemeral", wish.isEphemeral.map { $0 ? "yes" : "no" }),
            ("patience", wish.patienceMilliseconds.map { "\($0)" }),
        ]
        return values.compactMap { name, value in value.map { Text(name: name, value: $0) } }
    }

    /// Reads one of them; false if that is not its form.
    mutating func take(_ name: String, _ value: String) -> Bool {
        let parts = value.split(separator: ":")
        switch name {
        case "dispatcher":
            wish.dispatcher = DispatcherKind(name: value)
            return wish.dispatcher != nil
        case "lag":
            wish.lag = LagLimit(value)
            return wish.lag != nil
        case "partitions":
            wish.partitions = UInt16(value)
            return wish.partitions != nil
        case "ephemeral":
            wish.isEphemeral = value == "yes"
            return ["yes", "no"].contains(value)
        case "patience":
            wish.patienceMilliseconds = UInt32(value)
            return wish.patienceMilliseconds != nil
        case "weight":
            member.weight = UInt16(value)
            return member.weight != nil
        case "priority": return take(UInt8(value), \.member.priority)
        case "sample": return take(UInt32(value), \.member.sampleOneIn)
        case "claim":
            member.claims = value.split(separator: ",").compactMap { UInt16($0) }
            return member.claims?.isEmpty == false
        case "filter":
            member.filter = try? Filter(Condition(String(value.dropFirst().dropLast())))
            return member.filter != nil
        case "batch":
            guard parts.count == 2, let events = UInt32(parts[0]), parts[1].hasSuffix("ms"),
                let wait = UInt32(parts[1].dropLast(2))
            else { return false }
            member.batch = BatchRule(eventsMax: events, waitMilliseconds: wait)
            return true
        case "rate":
            let numbers = parts.compactMap { UInt32($0) }
            guard numbers.count == 2 else { return false }
            member.rate = RateLimit(eventsPerSecond: numbers[0], burst: numbers[1])
            return true
        default: return false
        }
    }

    private mutating func take<Value>(
        _ value: Value?,
        _ field: WritableKeyPath<Open, Value>
    ) -> Bool {
        guard let value else { return false }
        self[keyPath: field] = value
        return true
    }
}
