"""Fields that are read from Go sources."""

from __future__ import annotations

from pathlib import Path

from tests.tools.go_structs import GoField, Sources

TYPES = """\
package v1

import (
	"time"

	base "k8s.io/component-base/config"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Own is a kind. It is no example of:
//
//	type Other struct {
type Own struct {
	metav1.TypeMeta `json:",inline"`
	// Level is one of two.
	Level *Level `json:"level,omitempty" protobuf:"bytes,1,opt,name=level"`
	base.Debugging `json:""`

	Items []Item `json:"items"`
	Wait metav1.Duration `json:"wait-time"`
	TTL time.Duration `json:"ttl"`
	Labels map[string]string `json:"labels"`
	Lists map[string][]string `json:"lists"`
	Raw Custom `json:"raw"`
	Nothing *Nothing `json:"nothing,omitempty"`
	hidden string
	Ignored string `json:"-"`
}

type Item struct {
	Numbers []int32 `json:"numbers"`
	Count   Count   `json:"count"`
}

type Level string

const (
	LevelLow  Level = "Low"
	LevelHigh Level = "High"
)

type Count uint32

type Nothing struct{}

type Custom struct {
	Text string `json:"text"`
}

func (c *Custom) UnmarshalJSON(data []byte) error { return nil }
"""
BASE = 'package config\n\ntype Debugging struct {\n\tProfiling *bool `json:"profiling"`\n}\n'


def test_the_fields_of_a_struct_have_the_types_of_their_json(tmp_path: Path) -> None:
    for name, text in (("kubelet@v0.37.2/config/v1", TYPES), ("component-base@v0.37.2/config", BASE)):
        (tmp_path / "k8s.io" / name).mkdir(parents=True)
        (tmp_path / "k8s.io" / name / "types.go").write_text(text, encoding="utf-8")
    assert list(Sources(tmp_path, "37.2").fields("k8s.io/kubelet/config/v1", "Own")) == [
        GoField("level", "Level", "string(Low|High)"),
        GoField("profiling", "Profiling", "bool"),
        GoField("items[].numbers", "Items.Numbers", "[int32]"),
        GoField("items[].count", "Items.Count", "uint32"),
        GoField("wait-time", "Wait", "duration"),
        GoField("ttl", "TTL", "int64"),
        GoField("labels", "Labels", "map[string]string"),
        GoField("lists", "Lists", "map[string][string]"),
        GoField("raw", "Raw", "any"),
        GoField("nothing", "Nothing", "object"),
    ]
