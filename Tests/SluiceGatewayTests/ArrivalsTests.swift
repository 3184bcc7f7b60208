import Testing

@testable import SluiceGateway

@Suite("What has arrived at clients of HTTP")
struct ArrivalsTests {
    /// Events of each link that are in what is written.
    private static func taken(_ events: [UInt32: UInt64]) -> (UInt32) -> UInt64? { { events[$0] } }

    private func sequences(_ arrivals: inout Arrivals, at acknowledged: UInt64) -> [UInt64] {
        arrivals.take(acknowledged: acknowledged).map(\.sequence)
    }

    @Test("Events have arrived when all bytes are acknowledged that were written by then")
    func inOrder() {
        var arrivals = Arrivals()
        arrivals.await(1, upTo: 10)
        arrivals.place(at: 500, taken: Self.taken([1: 9]))
        #expect(sequences(&arrivals, at: 500) == [], "one of them is not written yet")
        arrivals.place(at: 600, taken: Self.taken([1: 10]))
        // What is written later is not theirs.
        arrivals.place(at: 900, taken: Self.taken([1: 12]))
        #expect(sequences(&arrivals, at: 599) == [])
        #expect(!arrivals.isEmpty)
        #expect(sequences(&arrivals, at: 600) == [10])
        #expect(arrivals.isEmpty)
        #expect(sequences(&arrivals, at: 900) == [])
    }

    @Test("What is asked for meanwhile waits for its own bytes")
    func more() {
        var arrivals = Arrivals()
        arrivals.await(1, upTo: 10)
        arrivals.await(1, upTo: 12)
        arrivals.await(1, upTo: 11)
        arrivals.place(at: 100, taken: Self.taken([1: 12]))
        arrivals.await(1, upTo: 20)
        arrivals.await(1, upTo: 12)
        #expect(sequences(&arrivals, at: 100) == [12])
        #expect(!arrivals.isEmpty)
        arrivals.place(at: 200, taken: Self.taken([1: 19]))
        #expect(sequences(&arrivals, at: 200) == [])
        arrivals.place(at: 300, taken: Self.taken([1: 20]))
        #expect(sequences(&arrivals, at: 300) == [20])
        #expect(arrivals.isEmpty)
    }

    @Test("Links wait for themselves, and one that has ended does not")
    func links() {
        var arrivals = Arrivals()
        for link in 1...3 as ClosedRange<UInt32> { arrivals.await(link, upTo: UInt64(link)) }
        arrivals.place(at: 100, taken: Self.taken([1: 0, 3: 3]))
        #expect(arrivals.take(acknowledged: 100).map(\.link) == [3])
        arrivals.place(at: 200, taken: Self.taken([:]))
        #expect(arrivals.isEmpty)
    }
}
