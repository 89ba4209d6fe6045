#include "wire/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::wire {
namespace {

TEST(AddressTest, ReadsWhatPeopleWrite) {
  for (const auto& [text, host, port] :
       {std::tuple{"localhost:7420", "localhost", 7420},
        {"10.0.0.7:1", "10.0.0.7", 1},
        {"node-1.lab_2.example:65535", "node-1.lab_2.example", 65535},
        {"[::1]:80", "::1", 80}}) {
    const Result<Address> address = ParseAddress(text);
    ASSERT_TRUE(address.ok()) << address.status().message();
    EXPECT_EQ(address->host, host);
    EXPECT_EQ(address->port, port);
    EXPECT_EQ(address->Text(), text);
  }
  EXPECT_EQ(ParseAddress("127.0.0.1:0", 0)->port, 0);
}

TEST(AddressTest, RefusesTheRest) {
  for (const char* text : {"", "host", "host:", ":80", "host:0", "host:65536", "host:99999999999",
                           "host:-1", "host:8x", "host: 80", "a b:80", "::1:80", "[::1:80",
                           "[x]:80", "[]:80", "h\n:80", "http://host:80", "unix:/socket"}) {
    const Result<Address> address = ParseAddress(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_THAT(ParseAddress("host:99999").status().message(),
              testing::HasSubstr("'host:99999': the port is a number from 1 to 65535"));
}

TEST(AddressTest, KnowsLoopback) {
  for (const char* host : {"localhost", "127.0.0.1", "127.255.3.4", "::1"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host : {"0.0.0.0", "10.0.0.1", "127.evil.example", "::", "localhost.example"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(AddressTest, ListenersOnAllAddressesAreReachedByLoopback) {
  EXPECT_EQ(LocalHost("0.0.0.0"), "127.0.0.1");
  EXPECT_EQ(LocalHost("::"), "::1");
  EXPECT_EQ(LocalHost("10.0.0.1"), "10.0.0.1");
}

}  // namespace
}  // namespace muster::wire
