import SluiceCore

extension Scenario {
    /// Reads scenarios, a step a line; `#` begins a comment.
    package static func read(_ text: String) throws(ScenarioError) -> [Scenario] {
        var scenarios: [Scenario] = []
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        for (index, line) in lines.enumerated() {
            var words = line.split(whereSeparator: \.isWhitespace).map(String.init)
            let isTitle = words.first == "scenario"
            if !isTitle, let comment = words.firstIndex(where: { $0.hasPrefix("#") }) {
                words.removeSubrange(comment...)
            }
            guard let verb = words.first else { continue }
            let arguments = Arguments(line: index + 1, words: Array(words.dropFirst()))
            if isTitle {
                guard words.count > 1 else { throw arguments.error("a scenario needs a name") }
                scenarios.append(Scenario(title: arguments.words.joined(separator: " ")))
                continue
            }
            guard let last = scenarios.indices.last else {
                throw arguments.error("a step before the first `scenario NAME`")
            }
            let text = words.joined(separator: " ")
            if verb == "init" {
                guard scenarios[last].beginning == nil else {
                    throw arguments.error("a second init: begin a new scenario")
                }
                scenarios[last].beginning = try Beginning(arguments)
                scenarios[last].steps.append(Step(text: text, action: .start))
                continue
            }
            guard let kind = scenarios[last].beginning?.kind else {
                throw arguments.error("a scenario begins with init, not with \(verb)")
            }
            let action = try Action(verb, arguments, in: kind)
            scenarios[last].steps.append(Step(text: text, action: action))
        }
        return scenarios
    }
}

/// The words of a line behind the first.
private struct Arguments {
    let line: Int
    let words: [String]

    func error(_ text: String) -> ScenarioError { ScenarioError(line: line, text: text) }

    func word(_ place: Int, _ meaning: String) throws(ScenarioError) -> String {
        guard place < words.count else { throw error("\(meaning) is missing") }
        return words[place]
    }

    func count(_ place: Int, _ meaning: String) throws(ScenarioError) -> UInt32 {
        try number(word(place, meaning), meaning)
    }

    func number<Number: FixedWidthInteger>(
        _ word: String,
        _ meaning: String
    ) throws(ScenarioError) -> Number {
        guard let number = Number(word) else {
            throw error("\(meaning) is a number, not \(word)")
        }
        return number
    }

    func events() throws(ScenarioError) -> [Int] {
        guard !words.isEmpty else { throw error("name at least one event") }
        var events: [Int] = []
        for word in words { events.append(try number(word, "an event")) }
        return events
    }

    /// There are no more words than `count`.
    func end(at count: Int) throws(ScenarioError) {
        guard words.count > count else { return }
        throw error("nothing is known of \(words[count])")
    }

    /// The words of the form `name=value` from a place on.
    func options(from place: Int) throws(ScenarioError) -> [(name: String, value: String)] {
        var options: [(name: String, value: String)] = []
        for word in words.dropFirst(place) {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw error("\(word) is no option: write NAME=VALUE") }
            options.append((parts[0], parts[1]))
        }
        return options
    }

    func flag(_ value: String) throws(ScenarioError) -> Bool {
        guard value == "0" || value == "1" else { throw error("say 0 or 1, not \(value)") }
        return value == "1"
    }
}

extension Scenario.Action {
    fileprivate init(
        _ verb: String,
        _ arguments: Arguments,
        in kind: Scenario.Beginning.Kind
    ) throws(ScenarioError) {
        let kinds: [Scenario.Beginning.Kind] =
            switch verb {
            case "dispatch": [.bare]
            case "emit": [.stage]
            case "mode", "resub": [.stage, .processor]
            case "count": [.stage, .processor, .consumer]
            case "sub", "ask", "cancel", "kill": [.bare, .stage, .processor]
            case "info": [.bare, .stage, .processor]
            case "up", "upcancel", "cask": [.processor, .consumer]
            default: throw arguments.error("there is no step \(verb)")
            }
        guard kinds.contains(kind) else {
            throw arguments.error("\(verb) is no step of a scenario of `init \(kind.rawValue)`")
        }
        try self.init(verb, arguments)
    }

    private init(_ verb: String, _ arguments: Arguments) throws(ScenarioError) {
        switch verb {
        case "sub":
            let name = try arguments.word(0, "the consumer")
            self = .subscribe(name, try Scenario.Member(arguments, from: 1))
        case "ask":
            let name = try arguments.word(0, "the consumer")
            self = .ask(name, try arguments.count(1, "the demand"))
            try arguments.end(at: 2)
        case "cancel":
            let reason = arguments.words.dropFirst().joined(separator: " ")
            self = .cancel(
                try arguments.word(0, "the consumer"),
                reason: reason.isEmpty ? "normal" : reason
            )
        case "kill":
            self = .kill(try arguments.word(0, "the consumer"))
            try arguments.end(at: 1)
        case "dispatch", "emit": self = .emit(try arguments.events())
        case "up": self = .receive(try arguments.events())
        case "info":
            _ = try arguments.word(0, "the text of the marker")
            self = .mark(arguments.words.joined(separator: " "))
        case "mode":
            let mode = try arguments.word(0, "the mode")
            guard mode == "forward" || mode == "accumulate" else {
                throw arguments.error("the mode is forward or accumulate, not \(mode)")
            }
            self = .accumulate(mode == "accumulate")
            try arguments.end(at: 1)
        case "count":
            self = .count
            try arguments.end(at: 0)
        case "resub":
            let old = try arguments.word(0, "the old subscription")
            let new = try arguments.word(1, "the new subscription")
            self = .resubscribe(old: old, new, try Scenario.Member(arguments, from: 2))
        case "upcancel":
            self = .cancelUpstream(try arguments.word(0, "the reason"))
            try arguments.end(at: 1)
        default:
            self = .askUpstream(UInt64(try arguments.count(0, "the demand")))
            try arguments.end(at: 1)
        }
    }
}

extension Scenario.Member {
    fileprivate init(_ arguments: Arguments, from place: Int) throws(ScenarioError) {
        for (name, value) in try arguments.options(from: place) {
            switch name {
            case "partition": partition = try arguments.number(value, "the partition")
            case "pid": process = value
            case "selector": selector = try Scenario.Selector(value, arguments)
            default: throw arguments.error("a consumer has no option \(name)")
            }
        }
    }
}

extension Scenario.Selector {
    fileprivate init(_ text: String, _ arguments: Arguments) throws(ScenarioError) {
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        switch (parts.first, parts.count) {
        case ("even", 1): self = .even
        case ("odd", 1): self = .odd
        case ("none", 1): self = .none
        case ("lt", 2): self = .below(try arguments.number(parts[1], "the bound"))
        case ("ge", 2): self = .atLeast(try arguments.number(parts[1], "the bound"))
        default: throw arguments.error("a selector is even, odd, none, lt:N or ge:N, not \(text)")
        }
    }
}

extension Scenario.Beginning {
    fileprivate init(_ arguments: Arguments) throws(ScenarioError) {
        let word = try arguments.word(0, "disp, stage, pc or consumer")
        guard let kind = Kind(rawValue: word) else {
            throw arguments.error("init disp, stage, pc or consumer, not \(word)")
        }
        self.init(kind: kind)
        if kind == .processor { bufferSize = nil }
        if kind != .consumer {
            let word = try arguments.word(1, "the dispatcher")
            guard let dispatcher = Dispatcher(rawValue: word) else {
                throw arguments.error(
                    "the dispatcher is demand, broadcast or partition, not \(word)"
                )
            }
            self.dispatcher = dispatcher
        }
        var least: UInt64?
        var hash: String?
        for (name, value) in try arguments.options(from: kind == .consumer ? 1 : 2) {
            switch name {
            case "max": maxDemand = try arguments.number(value, "max")
            case "min": least = try arguments.number(value, "min")
            case "hash": hash = value
            default: try set(name, value, arguments)
            }
        }
        guard maxDemand > 0 else { throw arguments.error("max is at least 1") }
        minDemand = least ?? maxDemand / 2
        guard minDemand < maxDemand else { throw arguments.error("min is below max") }
        guard dispatcher == .partition else { return }
        guard partitions > 0 else { throw arguments.error("say how many: partitions=N") }
        modulus = Int(partitions)
        if let hash { try setHash(hash, arguments) }
    }

    private mutating func set(
        _ name: String,
        _ value: String,
        _ arguments: Arguments
    ) throws(ScenarioError) {
        switch name {
        case "partitions": partitions = try arguments.number(value, "partitions")
        case "max_demand":
            // The dispatcher only warns of it.
            let _: UInt64 = try arguments.number(value, "max_demand")
        case "buffer_size":
            bufferSize = value == "infinity" ? nil : try arguments.number(value, "buffer_size")
        case "buffer_keep":
            guard value == "first" || value == "last" else {
                throw arguments.error("buffer_keep is first or last, not \(value)")
            }
            keepsFirst = value == "first"
        case "demand":
            guard value == "forward" || value == "accumulate" else {
                throw arguments.error("demand is forward or accumulate, not \(value)")
            }
            accumulates = value == "accumulate"
        case "auto": answersDemand = try arguments.flag(value)
        case "manual": isManual = try arguments.flag(value)
        case "cancel":
            guard let rule = CancelRule(rawValue: value) else {
                throw arguments.error("cancel is permanent, transient or temporary, not \(value)")
            }
            cancel = rule
        default: throw arguments.error("init has no option \(name)")
        }
    }

    private mutating func setHash(
        _ text: String,
        _ arguments: Arguments
    ) throws(ScenarioError) {
        let parts = text.split(separator: ":").map(String.init)
        let isHash = parts.first == "mod" && (parts.count == 2 || parts.count == 4)
        guard isHash, parts.count == 2 || parts[2] == "none" else {
            throw arguments.error("a hash is mod:N or mod:N:none:M, not \(text)")
        }
        modulus = try arguments.number(parts[1], "the modulus")
        if parts.count == 4 { nobodys = try arguments.number(parts[3], "what is discarded") }
        guard modulus > 0, nobodys.map({ $0 > 0 }) ?? true else {
            throw arguments.error("a modulus is at least 1")
        }
    }
}
