import SluiceCore
import SluiceTestKit
import Testing

@Suite("What waits at a processor")
struct ParkingTests {
    @Test("events wait until something is asked, and words for nothing but what is before them")
    func asAsked() {
        let rule = Parking.asAsked
        #expect(rule.allowance(for: .events, asked: 0) == nil)
        #expect(rule.allowance(for: .events, asked: 3) == 3)
        #expect(rule.allowance(for: .word, asked: 0) == 0)
        #expect(rule.allowance(for: .word, asked: 3) == 0)
    }

    @Test("GenStage's takes whole messages once anything is asked, be they events or words")
    func wholeMessages() {
        let rule = Parking.wholeMessages
        #expect(rule.allowance(for: .events, asked: 0) == nil)
        #expect(rule.allowance(for: .events, asked: 1) == .max)
        #expect(rule.allowance(for: .word, asked: 0) == nil)
        #expect(rule.allowance(for: .word, asked: 1) == 0)
    }

    /// A processor between a window and those who ask it, without links.
    private struct Bench {
        var window: DemandWindow
        /// Events asked for upstream that have not come.
        var upstream: UInt64
        /// What is here: numbers of events, and nil for a word.
        var parked: [UInt64?] = []
        var open: UInt64 = 0
        var handled: [UInt64] = []

        init(max: UInt64, min: UInt64) {
            window = DemandWindow(max: max, min: min)
            upstream = window.open()
        }

        var parkedEvents: Int { parked.count { $0 != nil } }

        /// Handles what may be; returns how many words were heard.
        mutating func handle() -> Int {
            var words = 0
            while let first = parked.first {
                let kind: Parking.First = first == nil ? .word : .events
                guard let most = Parking.asAsked.allowance(for: kind, asked: open) else { break }
                if first == nil {
                    parked.removeFirst()
                    words += 1
                    continue
                }
                let limit = Int(Swift.min(most, window.batchMax))
                let batch = parked.prefix { $0 != nil }.prefix(limit).compactMap(\.self)
                parked.removeFirst(batch.count)
                handled += batch
                open -= UInt64(batch.count)
                upstream += window.processed(UInt64(batch.count))
            }
            return words
        }
    }

    @Test("a window bounds what is here, whatever is asked, and what is asked is always served")
    func bounded() {
        var generator = SeededGenerator.replayable("parking")
        for _ in 0..<200 {
            let max = UInt64.random(in: 1...9, using: &generator)
            var bench = Bench(max: max, min: UInt64.random(in: 0..<max, using: &generator))
            var next: UInt64 = 0
            var (said, heard, asked) = (0, 0, 0)
            for _ in 0..<100 {
                switch Int.random(in: 0..<4, using: &generator) {
                case 0 where bench.upstream > 0:
                    let count = UInt64.random(in: 1...bench.upstream, using: &generator)
                    bench.parked += (next..<(next + count)).map { $0 }
                    bench.upstream -= count
                    next += count
                case 1:
                    bench.parked.append(nil)
                    said += 1
                default:
                    let count = Int.random(in: 0...4, using: &generator)
                    bench.open += UInt64(count)
                    asked += count
                }
                heard += bench.handle()
                #expect(bench.parkedEvents + Int(bench.upstream) <= Int(max))
                #expect(bench.handled.count <= asked)
                #expect(bench.open == 0 || bench.parked.isEmpty)
                #expect(bench.parked.first != .some(nil))
            }
            #expect(bench.handled == Array(0..<UInt64(bench.handled.count)))
            #expect(heard + bench.parked.count { $0 == nil } == said)
        }
    }
}

@Suite("Manual demand of a processor's input")
struct PassedDemandTests {
    @Test("it asks for what is open and not outstanding, and for no more than it may")
    func asks() {
        var demand = PassedDemand(most: 5)
        #expect(demand.ask(open: 0) == 0)
        #expect(demand.ask(open: 3) == 3)
        #expect(demand.ask(open: 3) == 0)
        #expect(demand.ask(open: 9) == 2)
        demand.handled(4)
        #expect(demand.ask(open: 3) == 2)
        #expect(demand.ask(open: 2) == 0)
    }

    @Test("what was cut off is asked for again, once")
    func forfeited() {
        var demand = PassedDemand(most: 10)
        #expect(demand.ask(open: 6) == 6)
        demand.handled(2)
        demand.book(forfeited: 4)
        demand.book(forfeited: 4)
        #expect(demand.ask(open: 4) == 4)
        demand.book(forfeited: 5)
        #expect(demand.ask(open: 4) == 1)
    }

    @Test("another subscription owes nothing of what the last one did")
    func anew() {
        var demand = PassedDemand(most: 10)
        #expect(demand.ask(open: 6) == 6)
        demand.handled(1)
        demand.book(forfeited: 2)
        demand.begin()
        #expect(demand.ask(open: 5) == 5)
        demand.book(forfeited: 1)
        #expect(demand.ask(open: 5) == 1)
    }

    @Test("it never asks for more than is wanted in all")
    func total() {
        var demand = PassedDemand(most: 10, total: 12)
        #expect(demand.ask(open: 100) == 10)
        demand.handled(10)
        #expect(!demand.isDone)
        #expect(demand.ask(open: 100) == 2)
        #expect(demand.ask(open: 100) == 0)
        demand.book(forfeited: 1)
        #expect(demand.ask(open: 100) == 1)
        demand.handled(2)
        #expect(demand.isDone)
    }
}

@Suite("The end of a processor's inputs")
struct InputEndsTests {
    @Test("it is reached once, when the last input says its end")
    func all() {
        var ends = InputEnds([1, 2])
        #expect(ends.ended(1) == false)
        #expect(ends.ended(1) == false)
        #expect(!ends.isAtEnd)
        #expect(ends.ended(2) == true)
        #expect(ends.isAtEnd)
        #expect(ends.ended(2) == false)
    }

    @Test("events behind it take it back, until their input has said it again")
    func takenBack() {
        var ends = InputEnds([1, 2])
        #expect(ends.ended(1) == false)
        ends.came(from: 1)
        #expect(ends.ended(2) == false)
        #expect(ends.ended(1) == true)
        ends.came(from: 2)
        #expect(!ends.isAtEnd)
        #expect(ends.ended(2) == true)
    }

    @Test("an input that leaves holds nothing up, and without any end there is none")
    func leaving() {
        var ends = InputEnds([1, 2])
        #expect(ends.ended(1) == false)
        #expect(ends.left(2, returns: false) == true)
        #expect(ends.left(1, returns: false) == false)
        var silent = InputEnds([1])
        #expect(silent.left(1, returns: false) == false)
        #expect(!silent.isAtEnd)
    }

    @Test("an input that will come back is waited for")
    func returning() {
        var ends = InputEnds([1, 2])
        #expect(ends.left(2, returns: true) == false)
        #expect(ends.ended(1) == false)
        ends.returned(3)
        #expect(!ends.isAtEnd)
        #expect(ends.ended(3) == true)
    }
}
