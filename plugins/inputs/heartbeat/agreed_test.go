package heartbeat

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// each calls do with each option of a struct, by its name.
func each(options reflect.Value, do func(name string, option reflect.Value)) {
	for i := range options.NumField() {
		field := options.Type().Field(i)
		switch name := field.Tag.Get("toml"); {
		case field.Type == reflect.TypeFor[former]():
		case field.Anonymous:
			each(options.Field(i), do)
		default:
			do(name, options.Field(i))
		}
	}
}

// alter gives an option another value.
func alter(option reflect.Value) {
	switch option.Kind() {
	case reflect.String:
		option.SetString(option.String() + "x")
	case reflect.Bool:
		option.SetBool(!option.Bool())
	case reflect.Int, reflect.Int64:
		option.SetInt(option.Int() + 1)
	case reflect.Float64:
		option.SetFloat(option.Float() / 2)
	case reflect.Slice:
		more := reflect.New(option.Type().Elem()).Elem()
		alter(more)
		option.Set(reflect.Append(option, more))
	case reflect.Struct: // a rule
		alter(option.Field(0))
	case reflect.Map:
		entries := reflect.MakeMap(option.Type())
		entries.SetMapIndex(reflect.ValueOf("x"), reflect.New(option.Type().Elem().Elem()))
		option.Set(entries)
	case reflect.Pointer:
		value := reflect.New(option.Type().Elem())
		if option.Type().Elem().Kind() != reflect.Struct {
			alter(value.Elem())
		}
		option.Set(value)
	default:
		panic(fmt.Sprintf("no other value for a %s", option.Kind()))
	}
}

// A new option either decides verdicts or series, and belongs into agreed, or
// collectors of one cluster may have different ones, and it belongs into this list.
func TestEveryOptionIsAgreedOnOrIsOfOneCollector(t *testing.T) {
	own := []string{
		"service_addresses", "allowed_sources", "tls_cert", "tls_key", "tls_key_pwd", "tls_allowed_cacerts", "tls_cipher_suites",
		"tls_min_version", "tls_max_version", "tls_allowed_dns_names", "names", "socket_mode", "read_buffer_size", "state_file",
		"expect_files", // its content is what counts, and changes while a collector runs
		"emit_beats",   // one that emits them is enough
		"welcome", "read_timeout", "max_frame_size", "max_connections", "max_connections_per_ip", "keep_alive_idle", "keep_alive_interval",
		"cluster",
		"allowed_readers", "basic_username", "basic_password", "trusted_proxies",
		"check_files",      // likewise
		"keys", "keys_dir", // a beat that one collector cannot verify counts by the word of another one
	}
	usual := defaults()
	var names []string
	each(reflect.ValueOf(&usual).Elem(), func(name string, _ reflect.Value) { names = append(names, name) })
	require.Greater(t, len(names), 40)
	for i, name := range names {
		changed, n := defaults(), 0
		each(reflect.ValueOf(&changed).Elem(), func(_ string, option reflect.Value) {
			if n == i {
				alter(option)
			}
			n++
		})
		require.Equal(t, slices.Contains(own, name), maps.Equal(changed.agreed(), usual.agreed()),
			"'%s' has to be in agreed, or else in the list of this test", name)
	}
}

func TestEveryOptionOfARuleIsAgreedOn(t *testing.T) {
	rule := reflect.TypeFor[Rule]()
	for i := range rule.NumField() {
		changed, usual := defaults(), defaults()
		changed.Rules, usual.Rules = make([]Rule, 1), make([]Rule, 1)
		alter(reflect.ValueOf(&changed.Rules[0]).Elem().Field(i))
		require.NotEqual(t, usual.agreed(), changed.agreed(), rule.Field(i).Name)
	}
}

func TestWhatIsAgreedOn(t *testing.T) {
	of := func(change func(*Options)) map[string]uint64 {
		o := defaults()
		change(&o)
		return o.agreed()
	}
	require.Equal(t, of(func(o *Options) { o.Expect, o.TagKeys = []string{"a", "b"}, []string{"x", "y"} }),
		of(func(o *Options) { o.Expect, o.TagKeys = []string{"b", "a"}, []string{"y", "x"} }), "sets have no order")
	require.Equal(t, of(func(*Options) {}), of(func(o *Options) { o.Expect = make([]string, 0) }), "as sample.conf has it")
	require.Equal(t, of(func(*Options) {}), of(func(o *Options) { o.MaxPeersPerHost = o.peersPerHost() }), "that is what 0 means")
	require.NotEqual(t, of(func(o *Options) { o.Rules = []Rule{{Host: "a"}, {Host: "b"}} }),
		of(func(o *Options) { o.Rules = []Rule{{Host: "b"}, {Host: "a"}} }), "the first that matches applies")
	require.NotContains(t, of(func(*Options) {}), "accept", "versions before do not know it")
	// What was agreed on by a version before is what this one agrees on.
	require.Equal(t, uint64(0x7ff9407b4c02ab8), of(func(*Options) {})["missed_beats"])
}
