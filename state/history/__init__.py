"""Reading a past trading day back from its files. Works beside a running trader."""
