import SluiceCore
import SluiceTestKit
import Testing

@Suite("Numbers from outside")
struct SaturatingTests {
    @Test("sums and products end at the greatest number")
    func bounds() {
        #expect(UInt64.max.addingSaturated(0) == .max)
        #expect(UInt64.max.addingSaturated(1) == .max)
        #expect(UInt64(3).addingSaturated(4) == 7)
        #expect(UInt64(2).multipliedSaturated(by: 1 << 63) == .max)
        #expect(UInt64(2).multipliedSaturated(by: 1 << 31) == 4_294_967_296)
    }

    @Test("no time is too long to be added to a clock")
    func times() {
        let now = Instant(nanoseconds: 7)
        let last = Instant(nanoseconds: .max)
        #expect(now.advanced(milliseconds: 2).nanoseconds == 2_000_007)
        for milliseconds: UInt64 in [.max, 18_446_744_073_710, 1 << 63] {
            #expect(now.advanced(milliseconds: milliseconds) == last)
        }
        #expect(last.advanced(milliseconds: 1) == last)
        #expect(last.advanced(nanoseconds: 1) == last)
        #expect(now.nanoseconds(since: last) == 0)
    }

    @Test("a length is what it is, nothing, or the longest there is")
    func lengths() {
        let longest = Duration.seconds(Limits.timeSecondsMax)
        for seconds: Double in [.nan, -.infinity, -1, -0.0, 0] {
            #expect(Duration(boundedSeconds: seconds) == .zero)
        }
        for seconds: Double in [1e308, .infinity, 1e18, 1e9 + 1] {
            #expect(Duration(boundedSeconds: seconds) == longest)
        }
        #expect(Duration(boundedSeconds: 1.5) == .milliseconds(1_500))
        #expect(Duration.seconds(Int64.max).boundedNanoseconds == 1_000_000_000_000_000_000)
        #expect(Duration.seconds(-1).boundedNanoseconds == 0)
        #expect(Duration.milliseconds(3).boundedNanoseconds == 3_000_000)
    }

    @Test("an account at the end of its numbers refuses what follows")
    func end() throws {
        var ledger = Ledger()
        try ledger.resumeAsSource(asked: .max, askedBytes: 0, received: 0, receivedBytes: 0)
        ledger.resumeAsSink(forfeited: 0, forfeitedBytes: 0)
        try ledger.receive(firstSequence: 1, events: .max, bytes: 0)
        #expect(ledger.delivered == .max)
        for sequence: UInt64 in [0, 1, .max] {
            #expect(throws: LedgerError.self) {
                try ledger.receive(firstSequence: sequence, events: 1, bytes: 0)
            }
        }
    }

    private static let numbers: [UInt64] = [
        0, 1, 2, 100, Limits.demandMax - 1, Limits.demandMax, Limits.demandMax + 1,
        Limits.demandBytesMax, Limits.demandBytesMax + 1, 1 << 31, 1 << 32, 1 << 63, .max - 1, .max,
    ]

    /// A number that is near one of the account, or none that anybody would say.
    private static func number(_ near: UInt64, _ random: inout SeededGenerator) -> UInt64 {
        guard Bool.random(using: &random) else { return numbers.randomElement(using: &random) ?? 0 }
        let off = UInt64.random(in: 0...2, using: &random)
        return Bool.random(using: &random) ? near &+ off : near &- off
    }

    @Test("an account that is told anything refuses it, or balances")
    func accounts() {
        var random = SeededGenerator.replayable("accounts")
        let steps = Int(clamping: Environment.number("SLUICE_FUZZ_CASES") ?? 100_000)
        var ledger = Ledger()
        for step in 0..<steps {
            if step.isMultiple(of: 50) { ledger = Ledger() }
            let before = ledger
            do throws(LedgerError) {
                try Self.tell(&ledger, &random)
            } catch { #expect(ledger == before, "refused, and changed") }
            #expect(ledger.balances, "\(before) became \(ledger)")
            _ = (ledger.credit, ledger.byteCredit, ledger.bytesAllowed)
        }
    }

    private static func tell(
        _ ledger: inout Ledger,
        _ random: inout SeededGenerator
    ) throws(LedgerError) {
        switch Int.random(in: 0..<8, using: &random) {
        case 0, 1:
            let events = UInt32(clamping: number(10, &random))
            let bytes = Bool.random(using: &random) ? UInt32(clamping: number(100, &random)) : 0
            try ledger.apply(
                Ask(
                    events: events,
                    total: number(ledger.asked &+ UInt64(events), &random),
                    bytes: bytes,
                    bytesTotal: number(ledger.askedBytes &+ UInt64(bytes), &random),
                    received: number(0, &random),
                    flags: AskFlags(rawValue: UInt8.random(in: 0...7, using: &random))
                )
            )
        case 2:
            // What a frame can bring: at least one event, and no more bytes than it has.
            try ledger.receive(
                firstSequence: number(ledger.delivered &+ 1, &random),
                events: max(1, number(ledger.credit, &random)),
                bytes: min(number(ledger.byteCredit ?? 7, &random), UInt64(Limits.frameBytesMax))
            )
        case 3:
            try ledger.book(
                forfeited: number(ledger.forfeited, &random),
                forfeitedBytes: number(ledger.forfeitedBytes, &random)
            )
        case 4:
            try ledger.rewind(
                received: number(ledger.delivered, &random),
                receivedBytes: number(ledger.deliveredBytes, &random),
                asked: number(ledger.asked, &random),
                askedBytes: number(ledger.askedBytes, &random)
            )
        case 5:
            try ledger.resumeAsSource(
                asked: number(ledger.asked, &random),
                askedBytes: number(ledger.askedBytes, &random),
                received: number(ledger.delivered, &random),
                receivedBytes: number(ledger.deliveredBytes, &random)
            )
        case 6:
            ledger.resumeAsSink(
                forfeited: number(ledger.forfeited, &random),
                forfeitedBytes: number(ledger.forfeitedBytes, &random)
            )
        default:
            ledger.stop(upTo: number(ledger.asked, &random))
            ledger.drain(upTo: number(ledger.asked, &random))
        }
    }
}
