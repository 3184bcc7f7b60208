import Sluice
import Testing

@Suite("Names of servers")
struct ServerNameTests {
    @Test(
        "may have a scheme and lack a port",
        arguments: [
            ("host:1", "host:1"),
            ("host", "host:7450"),
            ("sluice://host", "host:7450"),
            ("sluice://host:1/", "host:1"),
            ("[2001:db8::2]", "[2001:db8::2]:7450"),
            ("[::1]:2", "[::1]:2"),
            ("unix:/run/s", "unix:/run/s"),
        ]
    )
    func normalized(name: String, expected: String) {
        #expect(ClientConfiguration.normalized(name) == expected)
    }
}
