package import SluiceCore

/// What a stage does, step by step, in the grammar of the GenStage recordings.
package struct Scenario: Sendable {
    /// The words behind `scenario`: its name, and what it is about.
    package var title: String
    package var beginning: Beginning?
    package var steps: [Step] = []

    package var name: String { title.split(separator: " ").first.map(String.init) ?? "" }

    /// A line of the scenario, and what it means.
    package struct Step: Sendable {
        package var text: String
        package var action: Action
    }

    package enum Action: Sendable {
        case start
        case subscribe(String, Member)
        case ask(String, UInt32)
        case cancel(String, reason: String)
        case kill(String)
        /// Events handed to a bare dispatcher, or sent by a producer.
        case emit([Int])
        /// Events from upstream.
        case receive([Int])
        case mark(String)
        case accumulate(Bool)
        case count
        case resubscribe(old: String, String, Member)
        case cancelUpstream(String)
        case askUpstream(UInt64)
    }

    /// What a scenario's `init` says.
    package struct Beginning: Hashable, Sendable {
        package enum Kind: String, Sendable {
            /// A dispatcher alone.
            case bare = "disp"
            case stage
            case processor = "pc"
            case consumer
        }

        package enum Dispatcher: String, Sendable {
            case demand
            case broadcast
            case partition
        }

        package var kind: Kind
        package var dispatcher = Dispatcher.demand
        package var partitions: UInt16 = 0
        /// The partition of an event is its rest by this.
        package var modulus = 1
        /// Multiples of it belong to no partition.
        package var nobodys: Int?
        /// Nil for endless.
        package var bufferSize: UInt64? = 10_000
        package var keepsFirst = false
        package var accumulates = false
        package var answersDemand = false
        package var maxDemand: UInt64 = 1_000
        package var minDemand: UInt64 = 500
        package var cancel = CancelRule.permanent
        package var isManual = false
    }

    /// What a consumer says of itself.
    package struct Member: Hashable, Sendable {
        package var partition: UInt16?
        package var selector: Selector?
        /// Whose subscription it is; nil for a process of its own.
        package var process: String?
    }

    package enum Selector: Hashable, Sendable {
        case even
        case odd
        case none
        case below(Int)
        case atLeast(Int)
    }
}

/// Why a text is no scenario.
package struct ScenarioError: Error, Equatable, CustomStringConvertible {
    package var line: Int
    package var text: String

    package var description: String { "line \(line): \(text)" }
}
