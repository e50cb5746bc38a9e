<?php
// Signs a link of pinhole: php sign.php PATH EXP KID EP SECRET, and what an app's backend in PHP needs is `sign`.
//
// PATH is /i/{id}/{options} as it will be asked for, byte for byte: the signature is over that spelling. EP is the
// image's epoch (GET /v1/images/{id}): with another one the link is a 404. EXP, in Unix seconds, is best rounded up
// to a window, as 900 * intdiv($now + $lifetime + 899, 900), so that all viewers share one URL and a cache one copy.

function sign(string $path, string $exp, string $kid, string $ep, string $secret): string
{
    $claim = "$path?exp=$exp&kid=$kid&ep=$ep";
    $mac = hash_hmac('sha256', $claim, base64_decode(strtr($secret, '-_', '+/')), true);
    return $claim . '&sig=' . rtrim(strtr(base64_encode($mac), '+/', '-_'), '=');
}

echo sign(...array_slice($argv, 1)), "\n";
