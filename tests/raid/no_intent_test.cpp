// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/no_intent.h"

#include <gtest/gtest.h>

namespace mdtool {
namespace {

using Synced = Intent::Synced;
using Written = Intent::Written;

constexpr Sectors chunk(1000);  // no power of two: units are still whole chunks
constexpr Sectors unit(131000);
constexpr Sectors component(300000);
constexpr Ticks now{0};

NoIntent::Start start_at(Sectors resync_offset) {
  return {.component = component, .chunk = chunk, .resync_offset = resync_offset};
}

TEST(NoIntent, ACleanArrayPromisesEverything) {
  NoIntent intent(start_at(Sectors::max()));
  EXPECT_FALSE(intent.anything_due());
  EXPECT_FALSE(intent.start_sync(Sectors(0)).has_value());
  EXPECT_TRUE(intent.trusts_parity({Sectors(0), component}));
  EXPECT_TRUE(intent.resync_offset().is_max());
}

TEST(NoIntent, ADirtyArrayIsSynchronisedInUnitsFromItsMark) {
  NoIntent intent(start_at(Sectors(0)));
  EXPECT_TRUE(intent.anything_due());
  EXPECT_FALSE(intent.trusts_parity({Sectors(0), Sectors(8)}));
  EXPECT_EQ(intent.start_sync(Sectors(0)), (SectorRange{Sectors(0), unit}));
  EXPECT_FALSE(intent.start_sync(Sectors(0)).has_value()) << "it is in work";
  EXPECT_EQ(intent.resync_offset(), Sectors(0));
  intent.end_sync({Sectors(0), unit}, Synced::yes, now);
  EXPECT_EQ(intent.resync_offset(), unit);
  EXPECT_TRUE(intent.trusts_parity({unit - Sectors(8), Sectors(8)}));
  EXPECT_FALSE(intent.trusts_parity({unit - Sectors(8), Sectors(9)}));
  EXPECT_EQ(intent.start_sync(unit), (SectorRange{unit, unit}));
  intent.end_sync({unit, unit}, Synced::yes, now);
  const SectorRange last{unit * 2, component - unit * 2};
  EXPECT_EQ(intent.start_sync(Sectors(0)), last);
  intent.end_sync(last, Synced::yes, now);
  EXPECT_FALSE(intent.anything_due());
  EXPECT_TRUE(intent.resync_offset().is_max());
}

TEST(NoIntent, AMarkWithinAChunkBeginsWithTheChunk) {
  NoIntent intent(start_at(Sectors(150700)));
  EXPECT_EQ(intent.resync_offset(), Sectors(150000));
  EXPECT_TRUE(intent.trusts_parity({Sectors(149000), chunk}));
  EXPECT_EQ(intent.start_sync(Sectors(0)), (SectorRange{Sectors(150000), unit}));
}

TEST(NoIntent, WhatCouldNotBeComputedStaysDue) {
  NoIntent intent(start_at(Sectors(0)));
  const SectorRange rows = *intent.start_sync(Sectors(0));
  intent.end_sync(rows, Synced::no, now);
  EXPECT_EQ(intent.resync_offset(), Sectors(0));
  EXPECT_FALSE(intent.start_sync(rows.end()).has_value()) << "the mark moves in order";
  EXPECT_EQ(intent.start_sync(Sectors(0)), rows);
}

TEST(NoIntent, AWriteThatWentWrongIsDueAgain) {
  NoIntent intent(start_at(Sectors::max()));
  intent.end_write({Sectors(140000), chunk}, Written::no, now);
  EXPECT_EQ(intent.resync_offset(), unit);
  EXPECT_TRUE(intent.trusts_parity({Sectors(0), unit}));
  EXPECT_FALSE(intent.trusts_parity({Sectors(140000), Sectors(8)}));
  const SectorRange rows = *intent.start_sync(Sectors(0));
  EXPECT_GE(rows.end(), Sectors(141000));
  intent.end_write({Sectors(140000), chunk}, Written::no, now);
  intent.end_sync(rows, Synced::yes, now);
  EXPECT_TRUE(intent.anything_due()) << "it went wrong again while it was in work";
}

TEST(NoIntent, NothingIsDueWithoutAMemberAndTheMarkStays) {
  NoIntent intent(start_at(Sectors(0)));
  intent.degraded();
  EXPECT_FALSE(intent.anything_due());
  EXPECT_FALSE(intent.start_sync(Sectors(0)).has_value());
  EXPECT_EQ(intent.resync_offset(), Sectors(0));
  EXPECT_FALSE(intent.trusts_parity({Sectors(0), chunk}));
}

}  // namespace
}  // namespace mdtool
