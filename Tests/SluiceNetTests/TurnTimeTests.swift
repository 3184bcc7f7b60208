import SluiceNet
import Testing

@Suite("The time of a turn")
struct TurnTimeTests {
    private func useUp(_ slice: inout TurnTime.Slice) {
        while !slice.isUsedUp() {}
    }

    @Test("a slice begins with the first look, and is used up some time")
    func slice() {
        let time = TurnTime(sliceMicroseconds: 1_000, turnMicroseconds: 1_000_000)
        var slice = time.slice
        let isOver = slice.isUsedUp()
        #expect(!isOver)
        useUp(&slice)
    }

    @Test("who comes when the turn's time is used up has none before the next turn")
    func turn() {
        var time = TurnTime(sliceMicroseconds: 1, turnMicroseconds: 1)
        var first = time.slice
        useUp(&first)
        time.spend(first)
        #expect(time.isUsedUp)
        var second = time.slice
        let isLate = second.isUsedUp()
        #expect(isLate)
        time.spend(second)
        time.begin()
        #expect(!time.isUsedUp)
        var third = time.slice
        let isUsedUp = third.isUsedUp()
        #expect(!isUsedUp)
    }

    @Test("one slice may be left, though the turn's time is used up")
    func left() {
        var time = TurnTime(sliceMicroseconds: 1, turnMicroseconds: 10)
        while !time.isUsedUp {
            var slice = time.slice
            useUp(&slice)
            time.spend(slice)
        }
        time.leaveSlice()
        #expect(!time.isUsedUp)
        var slice = time.slice
        let isUsedUp = slice.isUsedUp()
        #expect(!isUsedUp)
        useUp(&slice)
        time.spend(slice)
        #expect(time.isUsedUp)
    }

    @Test("a slice leaves the others what it did not use")
    func rest() {
        var time = TurnTime(sliceMicroseconds: 1, turnMicroseconds: 60_000_000)
        var slice = time.slice
        useUp(&slice)
        time.spend(slice)
        #expect(!time.isUsedUp)
    }
}
