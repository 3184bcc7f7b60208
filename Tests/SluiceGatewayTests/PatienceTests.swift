import SluiceCore
import SluiceGateway
import Testing

@Suite("Patience with a client that does not take its answers")
struct PatienceTests {
    private let second: UInt64 = 1_000_000_000
    private let limit = UInt64(Limits.httpStallSecondsMax)
    private let least = Limits.httpStallSecondsMax * Limits.httpBodyBytesPerSecondMin

    /// When it is over, looked at each second; nil if it is not in a minute.
    private func end(_ moved: (Int) -> Int, isWaiting: (Int) -> Bool = { _ in true }) -> Int? {
        var patience = Patience()
        return (0..<60).first { time in
            patience.isOver(
                isWaiting: isWaiting(time),
                moved: moved(time),
                at: UInt64(time) * second
            )
        }
    }

    @Test("it is over when nothing has moved for the limit, whatever moved before")
    func nothing() {
        #expect(end { _ in 0 } == Int(limit))
        #expect(end { $0 < 20 ? $0 * least : 20 * least } == 20 + Int(limit))
    }

    @Test("a trickle is as nothing, and enough is enough")
    func trickle() {
        #expect(end { $0 } == Int(limit))
        #expect(end { $0 * (least / Int(limit) + 1) } == nil)
    }

    @Test("who owes nothing meanwhile begins anew")
    func pauses() {
        #expect(end({ _ in 0 }, isWaiting: { $0 % Int(limit) != 0 }) == nil)
        #expect(end({ _ in 0 }, isWaiting: { $0 > 10 }) == 11 + Int(limit))
    }
}
